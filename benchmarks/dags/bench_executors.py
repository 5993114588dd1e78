"""Tasks that return at once: a hundred together, and one alone."""

from airflow.sdk import DAG, task


@task
def number(value: int) -> int:
    """Return a number."""
    return value


with DAG("bench-executors", schedule=None, max_active_tasks=128):
    number.expand(value=list(range(100)))

with DAG("bench-executor-alone", schedule=None):
    number(1)
