"""Tasks that wait for some seconds each, for Celery workers to share; and one that returns at once."""

import time

from airflow.sdk import DAG, task


@task
def wait(seconds: float) -> None:
    """Wait, as for an answer."""
    time.sleep(seconds)


with DAG("bench-celery", schedule=None, max_active_tasks=128):
    wait.expand(seconds=[5.0] * 64)

with DAG("bench-celery-burst", schedule=None, max_active_tasks=128):
    wait.expand(seconds=[5.0 + number % 6 for number in range(100)])

with DAG("bench-celery-alone", schedule=None):
    wait(0)
