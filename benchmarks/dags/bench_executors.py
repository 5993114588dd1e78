"""Tasks that return at once, a hundred together and one alone; and forty that wait for a second each."""

import time

from airflow.sdk import DAG, task


@task
def number(value: int) -> int:
    """Return a number."""
    return value


@task
def wait(seconds: float) -> None:
    """Wait, as for an answer."""
    time.sleep(seconds)


with DAG("bench-executors", schedule=None, max_active_tasks=128):
    number.expand(value=list(range(100)))

with DAG("bench-executor-alone", schedule=None):
    number(1)

with DAG("bench-executors-waiting", schedule=None, max_active_tasks=128):
    wait.expand(seconds=[1.0] * 40)
