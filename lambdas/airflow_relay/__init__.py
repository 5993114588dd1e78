"""Send a Lambda function's log lines, while it runs, to the CloudWatch stream its caller named.

from airflow_relay import relay

@relay
def lambda_handler(event, context): ...
"""

from airflow_relay.decorator import LogServiceFailed, relay

__all__ = ["LogServiceFailed", "relay"]
