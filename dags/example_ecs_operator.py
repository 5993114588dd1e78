"""A container of ECS in one task, by the amazon provider's operator; nothing waits for it but the triggerer.

It is there with the overlay `ecs`: `./windtunnel up --with ecs`, and
`./windtunnel run example-ecs-operator --follow`.
"""

from airflow.configuration import conf
from airflow.sdk import DAG

# What it works on, `overlays/ecs.yml` makes.
if "ecs:" in conf.get("core", "executor"):
    from airflow.providers.amazon.aws.operators.ecs import EcsRunTaskOperator

    with DAG("example-ecs-operator", schedule=None, doc_md=__doc__, tags=["example"]):
        EcsRunTaskOperator(
            task_id="report",
            cluster="airflow",
            task_definition="airflow",
            launch_type="FARGATE",
            network_configuration={"awsvpcConfiguration": {"subnets": ["subnet-windtunnel"]}},
            overrides={
                "containerOverrides": [
                    {
                        "name": "airflow",
                        "command": ["sh", "-c", "sleep 2; echo Report of {{ dag_run.run_after | ds }}"],
                    }
                ]
            },
            # Where the definition sends the container's lines, which come into the task log.
            container_name="airflow",
            awslogs_group="/ecs/airflow",
            awslogs_stream_prefix="airflow",
            waiter_delay=1,
            deferrable=True,
        )
