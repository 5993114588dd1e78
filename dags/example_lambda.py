"""A Lambda function in one task, whose result the next one uses.

Trigger it with a configuration to change the payload: ``{"max_len": 5}``.
"""

from typing import Any

from airflow.sdk import DAG, task

from custom.operators.lambda_function import LambdaOperator

with DAG(dag_id="example-lambda", schedule=None, doc_md=__doc__, tags=["example"]):
    count = LambdaOperator(
        task_id="count",
        function_name="airflow-test",
        awslogs_group="/airflow/lambda/airflow-test",
        payload={"max_len": 3, "interval": 0.5, "fails_at": None},
        conf_overrides={"max_len", "interval"},
        retries=1,
    )

    @task
    def report(counted: Any) -> str:
        """Say what the function returned."""
        return f"the function has written {counted['lines']} lines"

    report(count.output)
