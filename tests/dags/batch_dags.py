"""The amazon provider's operators and sensors of Batch, with jobs that really run."""

from datetime import timedelta
from typing import Any

import boto3
from airflow.providers.amazon.aws.operators.batch import BatchCreateComputeEnvironmentOperator, BatchOperator
from airflow.providers.amazon.aws.operators.ecs import EcsDeregisterTaskDefinitionOperator
from airflow.providers.amazon.aws.sensors.batch import (
    BatchComputeEnvironmentSensor,
    BatchJobQueueSensor,
    BatchSensor,
)
from airflow.sdk import DAG, chain, task

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

with DAG("test-batch-lines", schedule=None, is_paused_upon_creation=False):
    many = ("sh", "-c", "seq -f 'line %.0f' 10000")
    submit("waited", *many, awslogs_enabled=True, awslogs_fetch_interval=timedelta(seconds=1))
    submit("deferrable", *many, awslogs_enabled=True, deferrable=True)

OWN = "test-batch-own"
ROLE = "arn:aws:iam::000000000000:role/ecsTaskExecutionRole"


@task
def call(operation: str, request: dict[str, Any]) -> None:
    """Call Batch, for which the provider has no operator."""
    getattr(boto3.client("batch"), operation)(**request)


def look(task_id: str, **more: Any) -> BatchComputeEnvironmentSensor:
    """A sensor of the compute environment."""
    return BatchComputeEnvironmentSensor(task_id=task_id, compute_environment=OWN, poke_interval=1, **more)


def look_at_queue(task_id: str, **more: Any) -> BatchJobQueueSensor:
    """A sensor of the job queue."""
    return BatchJobQueueSensor(task_id=task_id, job_queue=OWN, poke_interval=1, **more)


# All that a job needs, made, used and removed, as the provider's own system test does it.
with DAG("test-batch-own", schedule=None, is_paused_upon_creation=False):
    chain(
        call.override(task_id="define")(
            "register_job_definition",
            {
                "jobDefinitionName": OWN,
                "type": "container",
                "platformCapabilities": ["FARGATE"],
                "containerProperties": {
                    "image": "{{ var.value.remote_image }}",
                    "command": ["sleep", "1"],
                    "executionRoleArn": ROLE,
                    "resourceRequirements": [
                        {"type": "VCPU", "value": "0.25"},
                        {"type": "MEMORY", "value": "512"},
                    ],
                    "networkConfiguration": {"assignPublicIp": "ENABLED"},
                },
            },
        ),
        BatchCreateComputeEnvironmentOperator(
            task_id="environment",
            compute_environment_name=OWN,
            environment_type="MANAGED",
            state="ENABLED",
            service_role=ROLE,
            compute_resources={
                "type": "FARGATE",
                "maxvCpus": 10,
                "securityGroupIds": ["sg-test"],
                "subnets": ["subnet-test"],
            },
            deferrable=True,
            poll_interval=1,
        ),
        look("environment_is_valid"),
        call.override(task_id="queue")(
            "create_job_queue",
            {
                "jobQueueName": OWN,
                "priority": 1,
                "state": "ENABLED",
                "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": OWN}],
            },
        ),
        look_at_queue("queue_is_valid"),
        BatchOperator(
            task_id="job", job_name=OWN, job_queue=OWN, job_definition=OWN, wait_for_completion=False
        ),
        BatchSensor(
            task_id="job_is_done",
            job_id="{{ ti.xcom_pull(task_ids='job') }}",
            poke_interval=1,
            deferrable=True,
        ),
        call.override(task_id="disable_queue")("update_job_queue", {"jobQueue": OWN, "state": "DISABLED"}),
        look_at_queue("queue_is_disabled"),
        call.override(task_id="delete_queue")("delete_job_queue", {"jobQueue": OWN}),
        look_at_queue("queue_is_gone", treat_non_existing_as_deleted=True),
        call.override(task_id="disable")(
            "update_compute_environment", {"computeEnvironment": OWN, "state": "DISABLED"}
        ),
        look("environment_is_disabled"),
        call.override(task_id="delete")("delete_compute_environment", {"computeEnvironment": OWN}),
        # Batch has registered it, with ECS.
        EcsDeregisterTaskDefinitionOperator(task_id="deregister", task_definition=f"{OWN}:1"),
    )
