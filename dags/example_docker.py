"""A container of any image in one task, by DockerOperator, with its lines in the task log.

It is there with the overlay `docker`: `./windtunnel up --with docker`, and
`./windtunnel run example-docker --follow`.
"""

import os

from airflow.sdk import DAG

# `overlays/docker.yml` names the service that has Docker.
if "docker-agent" in os.environ.get("DOCKER_HOST", ""):
    from airflow.providers.docker.operators.docker import DockerOperator

    with DAG("example-docker", schedule=None, doc_md=__doc__, tags=["example"]):
        DockerOperator(
            task_id="report",
            image="python:3.13-slim-trixie",
            command=["python3", "-c", "print('Report of {{ dag_run.run_after | ds }}')"],
            mem_limit="128m",
            mount_tmp_dir=False,
            auto_remove="success",
        )
