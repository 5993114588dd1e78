"""What can be wrong with a container that a task is to run."""

from airflow.sdk.exceptions import AirflowException


class RemoteError(AirflowException):
    """A container cannot be described, or ECS refuses its description. Nothing has run."""
