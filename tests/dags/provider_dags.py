"""What the amazon provider itself has: users bring DAGs that use it."""

import io
import zipfile
from typing import Any

from airflow.providers.amazon.aws.hooks.lambda_function import LambdaHook
from airflow.providers.amazon.aws.operators.lambda_function import (
    LambdaCreateFunctionOperator,
    LambdaInvokeFunctionOperator,
)
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.providers.amazon.aws.sensors.sqs import SqsSensor
from airflow.sdk import DAG, ObjectStoragePath, task

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


def code(source: str) -> bytes:
    """Zip a function's source."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("lambda_function.py", source)
    return buffer.getvalue()


# What the sensors wait for is the test's to bring, once they have deferred.
with DAG(dag_id="test-provider-deferrable", schedule=None, is_paused_upon_creation=False):
    S3KeySensor(
        task_id="s3_key",
        bucket_key="s3://airflow-lambda-logs/test/{{ run_id }}",
        deferrable=True,
        poke_interval=1,
    )
    SqsSensor(
        task_id="sqs_message",
        sqs_queue="https://sqs.ap-southeast-2.amazonaws.com/000000000000/test-provider",
        deferrable=True,
        poke_interval=1,
    )
    LambdaCreateFunctionOperator(
        task_id="create_function",
        function_name="test-created",
        runtime="python3.12",
        role="arn:aws:iam::000000000000:role/lambda",
        handler="lambda_function.lambda_handler",
        code={"ZipFile": code("def lambda_handler(event, context): return event")},
        deferrable=True,
    ) >> LambdaInvokeFunctionOperator(task_id="call_it", function_name="test-created", payload='{"three": 3}')

    @task
    def object_storage(run_id: str | None = None) -> str:
        """Write an object and read it back."""
        path = ObjectStoragePath(f"s3://airflow-lambda-logs/test/object-{run_id}")
        path.write_text("stored")
        return path.read_text()

    object_storage()
