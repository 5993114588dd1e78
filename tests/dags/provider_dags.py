"""What the amazon provider itself has for Lambda: users bring DAGs that use it."""

from typing import Any

from airflow.providers.amazon.aws.hooks.lambda_function import LambdaHook
from airflow.providers.amazon.aws.operators.lambda_function import LambdaInvokeFunctionOperator
from airflow.sdk import DAG, task

from custom.operators.lambda_function import LambdaOperator

with DAG(dag_id="test-provider", schedule=None, is_paused_upon_creation=False):
    LambdaInvokeFunctionOperator(task_id="operator", function_name="test-plain", payload='{"one": 1}')
    LambdaInvokeFunctionOperator(
        task_id="operator_failing", function_name="test-relayed", payload='{"do": "end the process"}'
    )
    LambdaInvokeFunctionOperator(
        task_id="operator_event",
        function_name="test-plain",
        payload="{}",
        invocation_type="Event",
    )

    @task
    def hook() -> Any:
        """Call a function through the provider's hook."""
        answer = LambdaHook().invoke_lambda(function_name="test-plain", payload='{"two": 2}')
        return answer["Payload"].read().decode()

    hook()
    LambdaOperator(
        task_id="ours",
        function_name="test-plain",
        awslogs_group="/airflow/lambda/test-plain",
        payload={"one": 1},
    )
