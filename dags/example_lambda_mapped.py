"""One Lambda function for each of 20 inputs: mapped tasks, each with a log of its own."""

from typing import Any

from airflow.sdk import DAG, task

from custom.operators.lambda_function import LambdaOperator

with DAG(dag_id="example-lambda-mapped", schedule=None, doc_md=__doc__, tags=["example"]):

    @task
    def inputs() -> list[dict[str, Any]]:
        """Return a payload for each call."""
        return [{"max_len": number % 4, "interval": 0.1, "fails_at": None} for number in range(20)]

    @task
    def add_up(counted: Any) -> int:
        """Return how many lines all of them have written."""
        return sum(result["lines"] for result in counted)

    count = LambdaOperator.partial(
        task_id="count",
        function_name="airflow-test",
        awslogs_group="/airflow/lambda/airflow-test",
        deferrable=True,
    ).expand(payload=inputs())
    add_up(count.output)
