"""Windtunnel: a local, testable Airflow on AWS.

The names in ``__all__`` and the fixtures of ``windtunnel.pytest_plugin`` are public; the rest is private.
Services import this package at each start, so nothing is imported before it is used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from windtunnel.airflow_api.client import AirflowApiError, AirflowClient, UnknownDag
    from windtunnel.airflow_api.task_log import LogRecord
    from windtunnel.seeding.validation import SeedingError
    from windtunnel.stack.errors import StackError
    from windtunnel.testing.function_stubs import FunctionError, Stub
    from windtunnel.testing.runs import DagRun, TaskInstance
    from windtunnel.testing.stack import RunningStack
    from windtunnel.waiting import WaitTimeout, wait_until

__all__ = [
    "AirflowApiError", "AirflowClient", "DagRun", "FunctionError", "LogRecord", "RunningStack",
    "SeedingError", "StackError", "Stub", "TaskInstance", "UnknownDag", "WaitTimeout", "wait_until",
]  # fmt: skip

_MODULES = {
    "airflow_api.client": ("AirflowApiError", "AirflowClient", "UnknownDag"),
    "airflow_api.task_log": ("LogRecord",),
    "seeding.validation": ("SeedingError",),
    "stack.errors": ("StackError",),
    "testing.function_stubs": ("FunctionError", "Stub"),
    "testing.runs": ("DagRun", "TaskInstance"),
    "testing.stack": ("RunningStack",),
    "waiting": ("WaitTimeout", "wait_until"),
}

if not TYPE_CHECKING:
    # A type checker would take every other name, too.
    def __getattr__(name: str) -> object:
        """Import a public name when it is used first."""
        from importlib import import_module

        for module, names in _MODULES.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Name what is public, for completion."""
    return __all__
