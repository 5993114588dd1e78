"""Thirty functions at once, of 20 seconds each, in an Airflow that runs four tasks at a time."""

from airflow.sdk import DAG

from custom.operators.lambda_function import LambdaOperator

with DAG("bench-deferred", schedule=None, max_active_tasks=30):
    LambdaOperator.partial(
        task_id="invoke",
        function_name="bench-lines",
        awslogs_group="/airflow/lambda/bench-lines",
        deferrable=True,
    ).expand(payload=[{"lines": 20, "interval": 1, "number": number} for number in range(30)])
