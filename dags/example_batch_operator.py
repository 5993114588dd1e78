"""A job of AWS Batch in one task, by the amazon provider's operator; nothing waits for it but the triggerer.

It is there with the overlay `batch`: `./windtunnel up --with batch`, and
`./windtunnel run example-batch-operator --follow`.
"""

from airflow.configuration import conf
from airflow.sdk import DAG

# What it works on, `overlays/batch.yml` makes.
if "batch:" in conf.get("core", "executor"):
    from airflow.providers.amazon.aws.operators.batch import BatchOperator

    with DAG("example-batch-operator", schedule=None, doc_md=__doc__, tags=["example"]):
        BatchOperator(
            task_id="report",
            job_name="report",
            job_queue="airflow",
            job_definition="airflow",
            container_overrides={
                "command": ["sh", "-c", "sleep 2; echo Report of {{ dag_run.run_after | ds }}"]
            },
            # The job's lines come into the task log.
            awslogs_enabled=True,
            poll_interval=1,
            deferrable=True,
        )
