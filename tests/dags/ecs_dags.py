"""The amazon provider's operators and sensors of ECS, with an executor of Airflow's own beside them."""

import os
from datetime import timedelta
from typing import Any

import boto3
from airflow.providers.amazon.aws.hooks.ecs import EcsClusterStates, EcsTaskDefinitionStates, EcsTaskStates
from airflow.providers.amazon.aws.operators.ecs import (
    EcsCreateClusterOperator,
    EcsDeleteClusterOperator,
    EcsDeregisterTaskDefinitionOperator,
    EcsRegisterTaskDefinitionOperator,
    EcsRunTaskOperator,
)
from airflow.providers.amazon.aws.sensors.ecs import (
    EcsClusterStateSensor,
    EcsTaskDefinitionStateSensor,
    EcsTaskStateSensor,
)
from airflow.sdk import DAG, TriggerRule, task

from custom.operators.remote import RemoteOperator

CLUSTER = "test-ecs"
GROUP = "/ecs/test"
# The stack's own: overlays/ecs-agent.yml sets the variable.
IMAGE = "{{ var.value.remote_image }}"
REGION = os.environ["AWS_DEFAULT_REGION"]
ROLE = "arn:aws:iam::000000000000:role/ecsTaskExecutionRole"
LOGS = {
    "logDriver": "awslogs",
    "options": {
        "awslogs-group": GROUP,
        "awslogs-region": REGION,
        "awslogs-stream-prefix": "test",
        "awslogs-create-group": "true",
    },
}
SIZE = {"cpu": "256", "memory": "512", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"]}


def run_task(name: str, *command: str, **more: Any) -> EcsRunTaskOperator:
    """An operator that runs a command in the definition of the DAG."""
    return EcsRunTaskOperator(
        task_id=name,
        cluster=CLUSTER,
        task_definition="{{ ti.xcom_pull(task_ids='register') }}",
        launch_type="FARGATE",
        network_configuration={"awsvpcConfiguration": {"subnets": ["subnet-test"]}},
        overrides={"containerOverrides": [{"name": "main", "command": list(command)}]},
        container_name="main",
        awslogs_group=GROUP,
        awslogs_stream_prefix="test",
        awslogs_region=REGION,
        waiter_delay=1,
        **more,
    )


with DAG(dag_id="test-ecs", schedule=None, is_paused_upon_creation=False):
    create = EcsCreateClusterOperator(task_id="create", cluster_name=CLUSTER)
    is_active = EcsClusterStateSensor(task_id="is_active", cluster_name=CLUSTER, poke_interval=1)
    register = EcsRegisterTaskDefinitionOperator(
        task_id="register",
        family="test-ecs",
        container_definitions=[
            {
                "name": "main",
                "image": IMAGE,
                "logConfiguration": LOGS,
                "secrets": [{"name": "SECRET", "valueFrom": "/test/ecs/secret"}],
            }
        ],
        register_task_kwargs={"executionRoleArn": ROLE, **SIZE},
    )
    is_registered = EcsTaskDefinitionStateSensor(
        task_id="is_registered", task_definition="{{ ti.xcom_pull(task_ids='register') }}", poke_interval=1
    )
    runs = [
        run_task("green", "sh", "-c", "seq 1 20; echo the secret is $SECRET"),
        run_task("red", "sh", "-c", "seq 1 20; exit 3"),
        run_task("missing", "none-such"),
        run_task("deferrable", "sh", "-c", "sleep 2; echo deferred", deferrable=True),
        run_task("deferrable_red", "sh", "-c", "echo no; exit 4", deferrable=True),
        run_task("attached", "sh", "-c", "sleep 1", reattach=True),
    ]
    begun = run_task("begun", "sh", "-c", "sleep 5", wait_for_completion=False, do_xcom_push=True)
    is_stopped = EcsTaskStateSensor(
        task_id="is_stopped",
        cluster=CLUSTER,
        task="{{ ti.xcom_pull(task_ids='begun', key='ecs_task_arn') }}",
        target_state=EcsTaskStates.STOPPED,
        failure_states={EcsTaskStates.NONE},
        poke_interval=1,
    )
    deregister = EcsDeregisterTaskDefinitionOperator(
        task_id="deregister",
        task_definition="{{ ti.xcom_pull(task_ids='register') }}",
        trigger_rule=TriggerRule.ALL_DONE,
    )
    is_inactive = EcsTaskDefinitionStateSensor(
        task_id="is_inactive",
        task_definition="{{ ti.xcom_pull(task_ids='register') }}",
        target_state=EcsTaskDefinitionStates.INACTIVE,
        poke_interval=1,
    )
    delete = EcsDeleteClusterOperator(
        task_id="delete", cluster_name=CLUSTER, trigger_rule=TriggerRule.ALL_DONE
    )

    create >> is_active >> register >> is_registered >> [*runs, begun]
    begun >> is_stopped
    [*runs, is_stopped] >> deregister >> is_inactive >> delete

# A container with much to say. The provider's deferred operator is not among those that relay it: Airflow may
# lose the last lines of its trigger.
MANY_LINES = "seq -f 'line %.0f' 10000"
# What overlays/ecs.yml makes: cluster, definition and container have this name, and so has its log group.
NAME = "airflow"
ON_FARGATE: dict[str, Any] = {
    "cluster": NAME,
    "launch_type": "FARGATE",
    "network_configuration": {"awsvpcConfiguration": {"subnets": ["subnet-test"]}},
}


with DAG(dag_id="test-ecs-lines", schedule=None, is_paused_upon_creation=False):
    EcsRunTaskOperator(
        task_id="waited",
        task_definition=NAME,
        overrides={"containerOverrides": [{"name": NAME, "command": ["sh", "-c", MANY_LINES]}]},
        container_name=NAME,
        awslogs_group=f"/ecs/{NAME}",
        awslogs_stream_prefix=NAME,
        awslogs_region=REGION,
        awslogs_fetch_interval=timedelta(seconds=1),
        waiter_delay=1,
        **ON_FARGATE,
    )
    for name, is_deferrable in (("remote", False), ("remote_deferrable", True)):
        RemoteOperator(
            task_id=name,
            service={"image": IMAGE, "command": MANY_LINES},
            container_name=NAME,
            execution_role_arn=ROLE,
            awslogs_group=f"/ecs/{NAME}",
            deferrable=is_deferrable,
            **ON_FARGATE,
        )


@task
def subnets() -> list[str]:
    """The subnets of the default VPC."""
    default = [{"Name": "default-for-az", "Values": ["true"]}]
    found = boto3.client("ec2").describe_subnets(Filters=default)["Subnets"]
    return [subnet["SubnetId"] for subnet in found]


# As the provider's own system test has it: no launch type and no roles, in the network of the account; who
# waits for a cluster is a sensor.
with DAG(dag_id="test-ecs-instances", schedule=None, is_paused_upon_creation=False):
    short_lived = "test-ecs-short-lived"
    begin = EcsCreateClusterOperator(task_id="begin", cluster_name=short_lived, wait_for_completion=False)
    has_begun = EcsClusterStateSensor(task_id="has_begun", cluster_name=short_lived, poke_interval=1)
    definition = EcsRegisterTaskDefinitionOperator(
        task_id="definition",
        family="test-ecs-instances",
        container_definitions=[
            {
                "name": "main",
                "image": IMAGE,
                "workingDirectory": "/usr/bin",
                "entryPoint": ["sh", "-c"],
                "command": ["ls"],
                "logConfiguration": LOGS,
            }
        ],
        register_task_kwargs={"cpu": "256", "memory": "512", "networkMode": "awsvpc"},
    )
    on_an_instance = EcsRunTaskOperator(
        task_id="on_an_instance",
        # The agent is its instance.
        cluster="default",
        task_definition="{{ ti.xcom_pull(task_ids='definition') }}",
        reattach=True,
        overrides={"containerOverrides": [{"name": "main", "command": ["echo in $PWD"]}]},
        network_configuration={"awsvpcConfiguration": {"subnets": subnets()}},
        awslogs_group=GROUP,
        awslogs_region=REGION,
        awslogs_stream_prefix="test/main",
    )
    out_of_use = EcsDeregisterTaskDefinitionOperator(
        task_id="out_of_use",
        task_definition="{{ ti.xcom_pull(task_ids='definition') }}",
        trigger_rule=TriggerRule.ALL_DONE,
    )
    end = EcsDeleteClusterOperator(
        task_id="end",
        cluster_name=short_lived,
        wait_for_completion=False,
        trigger_rule=TriggerRule.ALL_DONE,
    )
    has_ended = EcsClusterStateSensor(
        task_id="has_ended",
        cluster_name=short_lived,
        target_state=EcsClusterStates.INACTIVE,
        poke_interval=1,
    )
    begin >> has_begun >> definition >> on_an_instance >> out_of_use >> end >> has_ended
