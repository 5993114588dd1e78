"""A container that runs on ECS, described by a service of `example_remote.compose.yml`.

It needs the overlay `ecs`: `./windtunnel up --with ecs`, and `./windtunnel run example-remote --follow`.
"""

from airflow.sdk import DAG

from custom.operators.remote import RemoteOperator

with DAG(
    dag_id="example-remote",
    schedule=None,
    is_paused_upon_creation=True,
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
