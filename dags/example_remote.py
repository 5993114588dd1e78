"""A container that runs on ECS, described by a service of `example_remote.compose.yml`.

It is there with the overlay `ecs`: `./windtunnel up --with ecs`, and
`./windtunnel run example-remote --follow`.
"""

from airflow.configuration import conf
from airflow.sdk import DAG

# What it works on, `overlays/ecs.yml` makes.
if "ecs:" in conf.get("core", "executor"):
    from custom.operators.remote import RemoteOperator

    with DAG(
        dag_id="example-remote",
        schedule=None,
        doc_md=__doc__,
        tags=["example"],
        # What is the same for all containers; on AWS the names and numbers of yours.
        default_args={
            "cluster": "airflow",
            "execution_role_arn": "arn:aws:iam::000000000000:role/ecsTaskExecutionRole",
            "network_configuration": {"awsvpcConfiguration": {"subnets": ["subnet-windtunnel"]}},
        },
    ):
        RemoteOperator.from_compose_service(
            "report",
            compose_file="example_remote.compose.yml",
            # The only image that there is without Docker; the overlay says which.
            image="{{ var.value.remote_image }}",
            environment={"DAY": "{{ dag_run.run_after | ds }}"},
        )
