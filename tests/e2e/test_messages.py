"""A DAG that starts on SQS messages."""

from functools import partial

import pytest

from tests.support import StackUnderTest
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.waiting import wait_until

pytestmark = pytest.mark.executor

DAG = "example-sqs-message"


def test_each_message_is_read_by_one_run(
    airflow: AirflowClient, airflow_stack: StackUnderTest, sent_messages: list[str]
) -> None:
    """The first was sent while the DAG was paused; a busy scheduler starts one run for several."""
    sqs = airflow_stack.aws("sqs")
    queue = sqs.get_queue_url(QueueName="example-messages")["QueueUrl"]

    def messages_by_run() -> list[list[str]]:
        runs = airflow.runs(DAG, limit=100)
        return [airflow.xcom(run, "read") for run in runs if run.state == "success"]

    def is_read_alone(body: str) -> bool:
        return [body] in messages_by_run()

    def read() -> list[str]:
        return sorted(body for bodies in messages_by_run() for body in bodies)

    wait_until(
        f"{len(sent_messages)} messages to be read by successful runs",
        lambda: len(read()) >= len(sent_messages),
        timeout=120,
    )
    assert read() == sorted(sent_messages)

    alone = [f"alone {number}" for number in range(3)]
    for body in alone:
        sqs.send_message(QueueUrl=queue, MessageBody=body)
        wait_until(f"a run for the message {body!r}", partial(is_read_alone, body), timeout=60)
    assert read() == sorted([*sent_messages, *alone])
    left = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert left["ApproximateNumberOfMessages"] == left["ApproximateNumberOfMessagesNotVisible"] == "0"
    airflow.pause(DAG)
