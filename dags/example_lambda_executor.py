"""Tasks as calls of Lambda, and one in the scheduler that may take longer than Lambda's 15 minutes.

It is there with the overlay `lambda-executor`: `./windtunnel up --with lambda-executor`, and
`./windtunnel run example-lambda-executor --follow`.
"""

import os

from airflow.configuration import conf
from airflow.sdk import DAG, task

# Airflow refuses a DAG that names an executor which this stack does not have.
if "lambda:" in conf.get("core", "executor"):
    with DAG("example-lambda-executor", schedule=None, doc_md=__doc__, tags=["example"]):

        @task(
            executor="lambda",
            # Goes to the function; what it does with it, docs/lambda-executor.md tells.
            executor_config={
                "overrides": {
                    "cpu": "512",
                    "memory": "1024",
                    "containerOverrides": [{"environment": [{"name": "REPORT", "value": "of the day"}]}],
                }
            },
            retries=1,
        )
        def build() -> str:
            """Return what the call has been given."""
            return f"the report {os.environ['REPORT']}"

        @task(executor="local")
        def send(report: str) -> str:
            """Take as long as it likes."""
            return f"{report} is sent"

        send(build())  # type: ignore[arg-type]
