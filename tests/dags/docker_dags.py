"""DockerOperator, and operators of ECS and Batch, with an image that is not the stack's own."""

import os

from airflow.providers.amazon.aws.operators.batch import BatchOperator
from airflow.providers.amazon.aws.operators.ecs import EcsRunTaskOperator
from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk import DAG

NAME = "test-docker"
IMAGE = os.environ.get("DOCKER_TEST_IMAGE") or "python:3.13-slim-trixie"

with DAG(dag_id=NAME, schedule=None, is_paused_upon_creation=False):
    EcsRunTaskOperator(
        task_id="ecs",
        cluster=NAME,
        task_definition=NAME,
        launch_type="FARGATE",
        network_configuration={"awsvpcConfiguration": {"subnets": ["subnet-test"]}},
        overrides={"containerOverrides": [{"name": "main", "command": ["sh", "-c", "seq 1 20; echo $NAME"]}]},
        container_name="main",
        awslogs_group="/test/docker",
        awslogs_stream_prefix="test",
        awslogs_region=os.environ["AWS_DEFAULT_REGION"],
        waiter_delay=1,
    )
    BatchOperator(
        task_id="batch",
        job_name=NAME,
        job_definition=f"{NAME}-job",
        job_queue=NAME,
        container_overrides={"command": ["sh", "-c", "echo attempt $AWS_BATCH_JOB_ATTEMPT"]},
        poll_interval=1,
    )
    # As one writes it without knowing of Windtunnel; by default it asks for a folder of the machine.
    DockerOperator(
        task_id="green",
        image=IMAGE,
        command=["sh", "-c", "echo hello; echo $NAME"],
        environment={"NAME": "of the operator"},
        auto_remove="success",
    )
    DockerOperator(task_id="red", image=IMAGE, command=["sh", "-c", "echo no; exit 3"], mount_tmp_dir=False)
    DockerOperator(
        task_id="reaches_aws",
        image=IMAGE,
        command=[
            "python3",
            "-c",
            "import urllib.request as u; print(u.urlopen('http://localstack:4566/_localstack/health').status)",
        ],
        auto_remove="force",
        mount_tmp_dir=False,
    )
    DockerOperator(
        task_id="mount",
        image=IMAGE,
        command=["ls", "/host"],
        mounts=[{"target": "/host", "source": "/", "type": "bind"}],
        mount_tmp_dir=False,
    )
    DockerOperator(task_id="privileged", image=IMAGE, command=["true"], privileged=True, mount_tmp_dir=False)
