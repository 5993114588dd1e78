"""The amazon provider's operator for Batch, with jobs that really run."""

from typing import Any

from airflow.providers.amazon.aws.operators.batch import BatchOperator
from airflow.sdk import DAG

# overlays/batch.yml makes a queue and a definition of that name.
NAME = "airflow"


def submit(task_id: str, *command: str, **more: Any) -> BatchOperator:
    """An operator that runs a command in the definition of the stack."""
    return BatchOperator(
        task_id=task_id,
        job_name=f"test-{task_id}",
        job_queue=NAME,
        job_definition=NAME,
        container_overrides={"command": list(command)},
        poll_interval=1,
        **more,
    )


with DAG("test-batch", schedule=None, is_paused_upon_creation=False):
    submit("green", "sh", "-c", "echo from the job", awslogs_enabled=True)
    submit("deferrable", "true", deferrable=True)
    submit("array", "sh", "-c", "exit $((AWS_BATCH_JOB_ARRAY_INDEX / 2))", array_properties={"size": 2})
    submit("retried", "sh", "-c", "[ $AWS_BATCH_JOB_ATTEMPT = 2 ]", retry_strategy={"attempts": 2})
    submit("red", "sh", "-c", "exit 4")
