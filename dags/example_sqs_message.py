"""Starts on the messages of an SQS queue. It is paused at first: unpause it, then send a message.

`aws --endpoint-url http://127.0.0.1:4566 sqs send-message --queue-url QUEUE --message-body hello`
"""

from typing import Any

from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger
from airflow.sdk import DAG, Asset, AssetWatcher, task

# `config/aws.json` makes it.
QUEUE = "https://sqs.ap-southeast-2.amazonaws.com/000000000000/example-messages"

# While the DAG is paused nobody asks the queue, and messages wait in it. Messages that are received together
# make one asset event: hence one at a time. Events that come between two looks of Airflow's scheduler, or
# while the DAG has as many runs as it may (`max_active_runs`), share a run: hence a list below.
messages = Asset(
    "example-messages",
    watchers=[
        AssetWatcher(
            name="example-messages",
            trigger=MessageQueueTrigger(scheme="sqs", sqs_queue=QUEUE, max_messages=1, waiter_delay=1),
        )
    ],
)

with DAG(
    dag_id="example-sqs-message",
    schedule=[messages],
    is_paused_upon_creation=True,
    doc_md=__doc__,
    tags=["example"],
):

    @task
    def read(triggering_asset_events: Any = None) -> list[str]:
        """Return the messages that have started this run."""
        return [
            message["Body"]
            for event in triggering_asset_events[messages]
            for message in event.extra["payload"]["message_batch"]
        ]

    read()
