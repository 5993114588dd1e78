"""One call by our operator."""

from airflow.sdk import DAG, Param

from custom.operators.lambda_function import LambdaOperator

with DAG(
    "bench-relayed", schedule=None, params={"lines": Param(20, type="integer"), "interval": Param(0.05)}
):
    LambdaOperator(
        task_id="invoke",
        function_name="bench-lines",
        awslogs_group="/airflow/lambda/bench-lines",
        payload="{{ params | tojson }}",
    )
