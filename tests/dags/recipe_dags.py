"""The operator of the published recipe, with the imports of Airflow 3."""

import json
import re
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from airflow.providers.amazon.aws.hooks.lambda_function import LambdaHook
from airflow.providers.amazon.aws.hooks.logs import AwsLogsHook
from airflow.sdk import DAG, BaseOperator, Param
from airflow.sdk.exceptions import AirflowException

LOOKS = 6
PAUSE_SECONDS = 2
AWS = {"aws_conn_id": None, "region_name": "ap-southeast-2"}


class RecipeOperator(BaseOperator):
    """Invoke, then show the stream that the function has made; fail if its last event has the word ERROR."""

    template_fields = ("function_name", "awslogs_group", "payload")

    def __init__(self, function_name: str, awslogs_group: str, payload: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function_name = function_name
        self.awslogs_group = awslogs_group
        self.payload = payload

    def execute(self, context: Any) -> None:
        stream = f"{datetime.now(UTC):%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}"
        event = {"group_name": self.awslogs_group, "stream_name": stream, **json.loads(self.payload)}
        functions = LambdaHook(**AWS).conn
        answer = functions.invoke(FunctionName=self.function_name, Payload=json.dumps(event).encode())
        self.log.info("Lambda has answered with %d", answer["StatusCode"])
        functions.get_waiter("function_active").wait(FunctionName=self.function_name)
        messages = self.show(stream)
        if not messages:
            raise AirflowException("there are no log events")
        if re.search("ERROR", messages[-1]):
            raise AirflowException("the function did not succeed")

    def show(self, stream: str) -> list[str]:
        for _ in range(LOOKS):
            if messages := [
                event["message"] for event in AwsLogsHook(**AWS).get_log_events(self.awslogs_group, stream)
            ]:
                for message in messages:
                    self.log.info("from the function: %s", message)
                return messages
            time.sleep(PAUSE_SECONDS)
        return []


with DAG(
    dag_id="test-recipe-operator",
    schedule=None,
    params={"function_name": Param("", type="string"), "payloads": Param([{}], type="array")},
    is_paused_upon_creation=False,
):
    RecipeOperator(
        task_id="invoke",
        function_name="{{ params.function_name }}",
        awslogs_group="/airflow/lambda/{{ params.function_name }}",
        payload="{{ params.payloads[0] | tojson }}",
    )
