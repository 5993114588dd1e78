"""The same call by the amazon provider's operator; in a file of its own, as each pays for its own imports."""

from airflow.providers.amazon.aws.operators.lambda_function import LambdaInvokeFunctionOperator
from airflow.sdk import DAG, Param

with DAG("bench-plain", schedule=None, params={"lines": Param(20, type="integer"), "interval": Param(0.05)}):
    LambdaInvokeFunctionOperator(
        task_id="invoke", function_name="bench-lines", payload="{{ params | tojson }}"
    )
