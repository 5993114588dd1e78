"""A DAG that starts on SQS messages."""

from functools import partial

import pytest

from tests.support import StackUnderTest
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.waiting import wait_until

pytestmark = pytest.mark.executor

DAG = "example-sqs-message"


def test_each_message_starts_a_run_and_none_starts_two(
    airflow: AirflowClient, airflow_stack: StackUnderTest, sent_messages: list[str]
) -> None:
    """The first was sent while the DAG was paused."""
    runs = partial(airflow.runs, DAG, limit=100)
    wait_until(
        f"{len(sent_messages)} runs that are a success",
        lambda: [run.state for run in runs()] == ["success"] * len(sent_messages),
        timeout=120,
    )

    started = [airflow.xcom(run, "read") for run in runs()]

    assert sorted(body for bodies in started for body in bodies) == sorted(sent_messages)
    sqs = airflow_stack.aws("sqs")
    queue = sqs.get_queue_url(QueueName="example-messages")["QueueUrl"]
    left = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert left["ApproximateNumberOfMessages"] == left["ApproximateNumberOfMessagesNotVisible"] == "0"
    airflow.pause(DAG)
