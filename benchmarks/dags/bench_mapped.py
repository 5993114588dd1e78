"""Three hundred calls of a function that returns at once."""

from airflow.sdk import DAG

from custom.operators.lambda_function import LambdaOperator

with DAG("bench-mapped", schedule=None):
    LambdaOperator.partial(
        task_id="invoke", function_name="bench-lines", awslogs_group="/airflow/lambda/bench-lines"
    ).expand(payload=[{"lines": 1, "interval": 0, "number": number} for number in range(300)])
