"""Tasks as containers of ECS, each with a size, variables and retries of its own.

It is there with the overlay `ecs`: `./windtunnel up --with ecs`, and `./windtunnel run example-ecs --follow`.
"""

import os
from datetime import timedelta
from typing import Any

from airflow.configuration import conf
from airflow.sdk import DAG, get_current_context, task

# Airflow refuses a DAG that names an executor which this stack does not have.
if "ecs:" in conf.get("core", "executor"):
    with DAG("example-ecs", schedule=None, doc_md=__doc__, tags=["example"]):

        @task(
            executor="ecs",
            # Goes into the call of RunTask.
            executor_config={
                "overrides": {
                    "cpu": "512",
                    "memory": "1024",
                    "containerOverrides": [
                        {"name": "airflow", "environment": [{"name": "REPORT", "value": "of the day"}]}
                    ],
                }
            },
        )
        def build() -> dict[str, Any]:
            """Return what the container has been given: vCPUs, MiB, and a variable."""
            import urllib3

            metadata = urllib3.request("GET", f"{os.environ['ECS_CONTAINER_METADATA_URI_V4']}/task").json()
            return {"limits": metadata["Limits"], "report": os.environ["REPORT"]}

        @task(executor="ecs", retries=1, retry_delay=timedelta(seconds=1))
        def send(built: dict[str, Any]) -> str:
            """Fail at the first try; the next one is another container, with a log of its own."""
            number = get_current_context()["ti"].try_number
            if number == 1:
                raise ConnectionError("nobody answers")
            return f"the report {built['report']} is sent at try {number}"

        send(build())  # type: ignore[arg-type]
