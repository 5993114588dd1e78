"""kombu's transport for SQS, which goes on when SQS does not answer, or answers with what is no task.

Celery's setting ``broker_transport`` names it, in ``overlays/celery.yml``.
"""

import gc
import json
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from celery.signals import worker_ready
from kombu.asynchronous.aws.sqs.connection import AsyncSQSConnection
from kombu.transport import SQS
from vine import promise

log = logging.getLogger(__name__)

# The one task that Airflow's workers know.
TASK = "execute_workload"

# The queue for messages that are no tasks; with the prefix of the others.
PUT_ASIDE = "not-tasks"

# Until the next question after one that could not be asked, in seconds.
PAUSE = 1.0

# Between two looks for answers while a worker ends, in seconds.
TICK = 0.05

# A worker touches this file in its temporary folder when SQS has answered, and while all its slots are taken.
HEARTBEAT = "celery-heartbeat"

# For calls of AWS, in seconds. botocore's own would keep a scheduler waiting for minutes.
BRIEF = {"connect_timeout": 5, "read_timeout": 10, "retries": {"total_max_attempts": 2}}

NO_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


@worker_ready.connect  # type: ignore[untyped-decorator]
def freeze_again(**_: Any) -> None:
    """Keep what a worker shares with others: the provider has just thawed it.

    On the local engine that is what the fork server has imported. The worker's next full collection would
    copy 90 MB of it.
    """
    gc.freeze()


@worker_ready.connect  # type: ignore[untyped-decorator]
def be_healthy(sender: Any, **_: Any) -> None:
    """Note that SQS has answered a worker, which has found its queues; its first question for messages may
    stay open for 5 s.
    """
    sender.connection.default_channel.has_answered()


class Polls(AsyncSQSConnection):  # type: ignore[misc]
    """Asks SQS for messages.

    kombu 5.7 makes an empty list of an answer with a status from 500 on, and then takes it for a dictionary;
    every other status is raised in its event loop. Either way the worker ends, or lives on and never asks
    again.
    """

    def __init__(self, channel: "Channel", **options: Any) -> None:
        """Take what asks, and the options of kombu's class."""
        super().__init__(**options)
        self._channel = channel

    def receive_message(self, *arguments: Any, **options: Any) -> Any:
        """Ask for messages; the parameters are those of kombu's class."""
        self._channel.open_questions += 1
        return super().receive_message(*arguments, **options)

    def _on_list_ready(self, parent: Any, markers: Any, operation: str, response: Any) -> Mapping[str, Any]:
        self._channel.open_questions -= 1
        if response.status == self.STATUS_CODE_OK:
            self._channel.has_answered()
            answer: Mapping[str, Any] = super()._on_list_ready(parent, markers, operation, response)
            return answer
        self._channel.has_not_answered(f"status {response.status}: {response.reason or response.read()!r}")
        return {}


class Channel(SQS.Channel):  # type: ignore[misc]
    """Asks for messages and sends them."""

    # How many questions for messages SQS has not answered yet.
    open_questions = 0
    _questions: Polls | None = None
    _is_silent = False

    def has_answered(self) -> None:
        """Note that SQS is there, for the health check."""
        if self._is_silent:
            self._is_silent = False
            log.warning("SQS answers again")
        self._heartbeat.touch()

    def has_not_answered(self, reason: object) -> None:
        """Say so, once; and look for each queue anew, which may have gone with its SQS."""
        if not self._is_silent:
            self._is_silent = True
            log.warning("SQS does not answer, it is asked again and again: %s", reason)
        self._queue_cache.clear()

    @cached_property
    def _heartbeat(self) -> Path:
        return Path(tempfile.gettempdir(), HEARTBEAT)

    @property
    def transport_options(self) -> dict[str, Any]:
        """The options of the setting, over our own."""
        return {"client-config": BRIEF, **super().transport_options}

    def asynsqs(self, queue: str | None = None) -> Any:
        """Return what asks for messages; kombu's own for a queue that the settings predefine."""
        if queue is not None and self.predefined_queues:
            return super().asynsqs(queue)
        if self._questions is None:
            wanted = self.get_message_attributes
            self._questions = Polls(
                self,
                sqs_connection=self.sqs(queue=queue),
                region=self.region,
                message_system_attribute_names=wanted["MessageSystemAttributeNames"],
                message_attribute_names=wanted["MessageAttributeNames"],
            )
        return self._questions

    def _schedule_queue(self, queue: str) -> None:
        """Ask for messages of a queue, and again later if that is not possible now."""
        if queue not in self._active_queues:
            return
        if not self.qos.can_consume():
            # All slots are taken.
            self._heartbeat.touch()
            self._loop1(queue)
            return
        try:
            self._get_bulk_async(queue, callback=promise(self._loop1, (queue,)))
        except (BotoCoreError, ClientError) as error:
            self.has_not_answered(error)
            self.hub.call_later(PAUSE, self._schedule_queue, queue)

    def _on_messages_ready(self, queue: str, qname: str, messages: Mapping[str, Any]) -> Any:
        """Hand on the messages that are tasks; the parameters are those of kombu, the URL first."""
        found: Sequence[Mapping[str, Any]] = messages.get("Messages", ())
        tasks = [message for message in found if self._is_task(message)]
        for message in found:
            if message not in tasks:
                self._put_aside(queue, message)
        return super()._on_messages_ready(queue, qname, {"Messages": tasks})

    def _is_task(self, message: Mapping[str, Any]) -> bool:
        """Whether a message of SQS is a task of Airflow, as Celery sends it."""
        try:
            envelope = json.loads(self._decode_python_message_body(message["Body"]))
            return bool(envelope["headers"]["task"] == TASK and envelope["properties"])
        except (ValueError, KeyError, TypeError):
            return False

    def _put_aside(self, url: str, message: Mapping[str, Any]) -> None:
        """Move a message to the queue of those that are no tasks."""
        log.error("%s has a message that is no task, it is put aside: %.200s", url, message["Body"])
        try:
            aside = self._new_queue(PUT_ASIDE)
            self.sqs().send_message(QueueUrl=aside, MessageBody=message["Body"])
            self.sqs().delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        except (BotoCoreError, ClientError) as error:
            # It comes again when it is visible again.
            self.has_not_answered(error)

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        """Send a message; a queue that has gone with its SQS is made again."""
        try:
            super()._put(queue, message, **options)
        except ClientError as error:
            if error.response["Error"]["Code"] not in NO_QUEUE:
                raise
            self._queue_cache.clear()
            super()._put(queue, message, **options)

    def created(self, queue: str) -> str:
        """Return when a queue was created, as SQS says it; it is created now if it is not there.

        :raises BotoCoreError: if SQS does not answer.
        :raises ClientError: if it refuses.
        """
        self._queue_cache.clear()
        url, name = self._new_queue(queue), "CreatedTimestamp"
        answer = self.sqs().get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        return str(answer["Attributes"][name])

    def close(self) -> None:
        """End when each open question is answered, so that what the answer brings is given back.

        SQS shows a message that is sent to nobody only when its visibility timeout is over.
        """
        if not self.closed:
            for consumer in list(self._consumers):
                self.basic_cancel(consumer)
            deadline = time.monotonic() + self.wait_time_seconds + PAUSE
            while self.open_questions > 0 and time.monotonic() < deadline:
                # One of them looks for answers.
                self.hub.fire_timers()
                time.sleep(TICK)
        super().close()


class Transport(SQS.Transport):  # type: ignore[misc]
    """kombu's transport with our channel."""

    Channel = Channel
