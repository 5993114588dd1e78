"""The amazon provider's operators and sensors of ECS, with an executor of Airflow's own beside them."""

import os
from typing import Any

from airflow.providers.amazon.aws.hooks.ecs import EcsTaskDefinitionStates, EcsTaskStates
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
from airflow.sdk import DAG, TriggerRule

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
