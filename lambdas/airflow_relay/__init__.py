"""Send a Lambda function's log lines, while it runs, to the CloudWatch stream its caller named.

from airflow_relay import relay

@relay
def lambda_handler(event, context): ...
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_relay.decorator import LogServiceFailed, relay

__all__ = ["LogServiceFailed", "relay"]


def __getattr__(name: str) -> Any:
    # Airflow's side needs the contract alone. Each task that starts would pay for the rest.
    if name in __all__:
        from airflow_relay import decorator

        return getattr(decorator, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
