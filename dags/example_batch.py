"""Tasks as jobs of AWS Batch, with what only a job has: a timeout, and retries of Batch.

It is there with the overlay `batch`: `./windtunnel up --with batch`, and
`./windtunnel run example-batch --follow`.
"""

import os

from airflow.configuration import conf
from airflow.sdk import DAG, task

# Airflow refuses a DAG that names an executor which this stack does not have.
if "batch:" in conf.get("core", "executor"):
    with DAG("example-batch", schedule=None, doc_md=__doc__, tags=["example"]):

        @task(
            executor="batch",
            # Goes into the call of SubmitJob.
            executor_config={
                "timeout": {"attemptDurationSeconds": 300},
                # Batch tries again what did not start; what has failed is for Airflow's own retries.
                "retryStrategy": {
                    "attempts": 2,
                    "evaluateOnExit": [{"onExitCode": "*", "action": "EXIT"}],
                },
                "containerOverrides": {
                    "environment": [{"name": "REPORT", "value": "of the day"}],
                    "resourceRequirements": [
                        {"type": "VCPU", "value": "0.5"},
                        {"type": "MEMORY", "value": "1024"},
                    ],
                },
            },
            retries=1,
        )
        def build() -> str:
            """Return what the container has been given."""
            return f"the report {os.environ['REPORT']}, at attempt {os.environ['AWS_BATCH_JOB_ATTEMPT']}"

        @task(executor="batch")
        def send(report: str) -> str:
            """Say which job has sent the report."""
            return f"{report}, is sent by the job {os.environ['AWS_BATCH_JOB_ID']}"

        send(build())  # type: ignore[arg-type]
