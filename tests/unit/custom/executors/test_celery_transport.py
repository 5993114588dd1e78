"""kombu's transport with our channel, and a stand-in for SQS."""

import base64
import gc
import json
import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from celery.signals import worker_ready
from kombu import Connection
from kombu.asynchronous.aws import connection
from kombu.asynchronous.aws.sqs.connection import AsyncSQSConnection
from kombu.transport import SQS

from custom.executors import celery_transport
from custom.executors.celery_transport import PAUSE, PUT_ASIDE, Channel

ADDRESS = "http://localhost/0/"
GONE = ClientError({"Error": {"Code": "QueueDoesNotExist", "Message": "no such queue"}}, "SendMessage")
AWAY = EndpointConnectionError(endpoint_url="http://localhost:4566")


class Sqs:
    """The messages of each queue, and what was deleted."""

    def __init__(self) -> None:
        self.queues: dict[str, list[str]] = {}
        self.deleted: list[str] = []
        self.shown: list[str] = []
        self.error: Exception | None = None
        # Of a real client: kombu reads answers with botocore's description of them.
        self.meta = boto3.client("sqs", region_name="ap-southeast-2").meta
        self._request_signer = self._endpoint = None

    def list_queues(self, **_: Any) -> dict[str, Any]:
        if self.error:
            raise self.error
        return {"QueueUrls": [f"{ADDRESS}{name}" for name in self.queues]}

    def create_queue(self, **arguments: Any) -> dict[str, Any]:
        self.queues[arguments["QueueName"]] = []
        return {"QueueUrl": f"{ADDRESS}{arguments['QueueName']}"}

    def send_message(self, **arguments: Any) -> None:
        name = arguments["QueueUrl"].removeprefix(ADDRESS)
        if name not in self.queues:
            raise GONE
        self.queues[name].append(arguments["MessageBody"])

    def change_message_visibility(self, **arguments: Any) -> None:
        assert arguments["VisibilityTimeout"] == 0
        self.shown.append(arguments["ReceiptHandle"])

    def delete_message(self, **arguments: Any) -> None:
        self.deleted.append(arguments["ReceiptHandle"])

    def get_queue_attributes(self, **arguments: Any) -> dict[str, Any]:
        number = list(self.queues).index(arguments["QueueUrl"].removeprefix(ADDRESS))
        return {"Attributes": {"CreatedTimestamp": str(100 + number)}}


class Hub:
    """The event loop, which does nothing by itself."""

    def __init__(self) -> None:
        self.later: list[tuple[float, Any]] = []
        self.soon: list[Any] = []
        self.timers: list[Any] = []

    def call_later(self, delay: float, *call: Any) -> None:
        self.later.append((delay, call))

    def fire_timers(self) -> None:
        for call in self.timers:
            call()

    def call_soon(self, *call: Any) -> None:
        self.soon.append(call)


@pytest.fixture
def sqs() -> Sqs:
    return Sqs()


@pytest.fixture
def beat(tmp_path: Path) -> Path:
    return tmp_path / celery_transport.HEARTBEAT


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch, sqs: Sqs, tmp_path: Path) -> Iterator[Any]:
    monkeypatch.setattr(Channel, "new_sqs_client", lambda *_, **__: sqs)
    monkeypatch.setattr(connection, "get_client", object)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    options = {"queue_name_prefix": "tunnel-", "visibility_timeout": 300, "polling_interval": 0.1}
    transport = "custom.executors.celery_transport:Transport"
    with Connection("sqs://localhost:4566", transport=transport, transport_options=options) as broker:
        made = broker.default_channel
        made.hub = Hub()
        yield made


def message(number: int, body: Any) -> dict[str, Any]:
    text = body if isinstance(body, str) else base64.b64encode(json.dumps(body).encode()).decode()
    return {"Body": text, "ReceiptHandle": f"handle-{number}"}


def task(name: str = "execute_workload") -> dict[str, Any]:
    return {"body": "W10=", "headers": {"task": name}, "properties": {"delivery_info": {}}}


def poll(channel: Any, status: int, content: bytes = b"{}") -> Any:
    """Give the channel's next question an answer."""
    http = SimpleNamespace(status_code=status, headers={}, content=content)
    response = SimpleNamespace(status=status, reason="", response=http, read=lambda: content)
    return channel.asynsqs()._on_list_ready(None, [], "ReceiveMessage", response)


def test_it_is_what_celery_makes_of_the_setting(channel: Any) -> None:
    assert type(channel) is Channel
    assert channel.canonical_queue_name("default") == "tunnel-default"


@pytest.mark.parametrize("status", [400, 403, 408, 500, 503, 599])
def test_an_answer_that_is_none_is_empty_and_said_once(
    channel: Any, beat: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    for _ in range(3):
        assert channel._on_messages_ready("url", "default", poll(channel, status, b"QueueDoesNotExist")) == 0

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "it is asked again and again" in caplog.text
    assert not beat.exists()

    assert "Messages" not in poll(channel, 200)
    assert caplog.messages[1:] == ["SQS answers again"]
    assert beat.exists()


@pytest.mark.parametrize("status", [500, 503, 599])
def test_kombus_own_takes_that_for_a_list(sqs: Sqs, status: int) -> None:
    """If this fails, kombu has mended it, and `Polls` may go."""
    own = AsyncSQSConnection(sqs_connection=sqs, http_client=object())
    answer = own._on_list_ready(None, [], "ReceiveMessage", SimpleNamespace(status=status))

    assert answer == []
    with pytest.raises(AttributeError):
        SQS.Channel._on_messages_ready(SimpleNamespace(), "url", "default", answer)


def test_messages_are_read_as_kombu_reads_them(channel: Any) -> None:
    content = json.dumps({"Messages": [{"Body": "a", "ReceiptHandle": "b"}]}).encode()

    assert poll(channel, 200, content)["Messages"] == [{"Body": "a", "ReceiptHandle": "b"}]


@pytest.mark.bad_input(77)
@pytest.mark.parametrize(
    "body",
    [
        "hello",
        base64.b64encode(b"\xff\xfe").decode(),
        {"one": 1},
        [1],
        {"headers": None, "properties": {}},
        {"headers": {}, "properties": {"a": 1}},
        task("another"),
        {**task(), "properties": {}},
    ],
)
def test_what_is_no_task_is_put_aside_once(
    channel: Any, sqs: Sqs, caplog: pytest.LogCaptureFixture, body: Any
) -> None:
    taken: list[Any] = []
    channel.connection._callbacks["default"] = taken.append
    bad, good = message(1, body), message(2, task())

    assert channel._on_messages_ready(f"{ADDRESS}tunnel-default", "default", {"Messages": [bad, good]}) == 1

    (one,) = taken
    assert one["properties"]["delivery_tag"] == "handle-2"
    assert sqs.queues == {f"tunnel-{PUT_ASIDE}": [bad["Body"]]}
    assert sqs.deleted == ["handle-1"]
    (said,) = caplog.messages
    assert "tunnel-default has a message that is no task" in said


def test_sqs_that_goes_meanwhile_keeps_no_task_from_its_worker(channel: Any, sqs: Sqs) -> None:
    taken: list[Any] = []
    channel.connection._callbacks["default"] = taken.append
    sqs.error = AWAY

    channel._on_messages_ready("url", "default", {"Messages": [message(1, "no task"), message(2, task())]})

    assert len(taken) == 1
    assert sqs.deleted == []


def test_a_question_that_cannot_be_asked_is_asked_later(channel: Any, sqs: Sqs) -> None:
    channel._active_queues.append("default")
    sqs.error = AWAY

    channel._schedule_queue("default")

    assert channel.hub.later == [(PAUSE, (channel._schedule_queue, "default"))]


def test_a_worker_whose_slots_are_all_taken_is_alive_and_asks_for_nothing(
    monkeypatch: pytest.MonkeyPatch, channel: Any, beat: Path
) -> None:
    channel._active_queues.append("default")
    monkeypatch.setattr(channel.qos, "can_consume", lambda: False)

    channel._schedule_queue("default")

    assert beat.exists()
    assert channel.hub.later == [(channel.connection.polling_interval, (channel._schedule_queue, "default"))]


def test_nothing_is_asked_for_a_queue_that_is_left(channel: Any) -> None:
    channel._schedule_queue("default")

    assert (channel.hub.later, channel.hub.soon) == ([], [])


def test_a_queue_that_has_gone_is_made_again_for_the_next_message(channel: Any, sqs: Sqs) -> None:
    channel._put("default", {"body": 1})
    sqs.queues.clear()

    channel._put("default", {"body": 2})

    ((name, bodies),) = sqs.queues.items()
    assert name == "tunnel-default"
    assert [json.loads(base64.b64decode(body)) for body in bodies] == [{"body": 2}]


def test_what_sqs_refuses_is_told(monkeypatch: pytest.MonkeyPatch, channel: Any, sqs: Sqs) -> None:
    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "SendMessage")

    def refuse(**_: Any) -> None:
        raise refused

    monkeypatch.setattr(sqs, "send_message", refuse)

    with pytest.raises(ClientError, match="AccessDenied"):
        channel._put("default", {"body": 1})


def test_when_a_queue_was_created(channel: Any, sqs: Sqs) -> None:
    assert channel.created("default") == "100"
    assert list(sqs.queues) == ["tunnel-default"]

    sqs.queues = {"other": [], **sqs.queues}
    assert channel.created("default") == "101"


def test_a_worker_that_ends_waits_for_the_answer_and_gives_back_what_it_brings(
    monkeypatch: pytest.MonkeyPatch, channel: Any, sqs: Sqs
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(AsyncSQSConnection, "make_request", lambda *_, **options: sent.append(options))
    channel._active_queues.append("default")
    channel._schedule_queue("default")
    assert len(sent) == 1

    content = json.dumps({"Messages": [message(1, task())]}).encode()

    def answer() -> None:
        found = poll(channel, 200, content)
        assert channel._on_messages_ready(f"{ADDRESS}tunnel-default", "default", found) == 0

    channel.hub.timers = [answer]
    channel.close()

    assert sqs.shown == ["handle-1"]
    assert channel.open_questions == 0


def test_it_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch, channel: Any) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.append(now.pop() + seconds))
    channel.open_questions = 1

    channel.close()

    assert now[0] >= channel.wait_time_seconds
    assert channel.closed


def test_a_worker_that_is_ready_is_healthy_and_what_it_shares_stays_shared(channel: Any, beat: Path) -> None:
    worker = Mock(connection=SimpleNamespace(default_channel=channel))
    gc.unfreeze()
    try:
        worker_ready.send(worker)
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
    assert beat.exists()


def test_calls_are_brief(channel: Any) -> None:
    assert channel.transport_options["client-config"]["read_timeout"] == 10
    assert channel.transport_options["queue_name_prefix"] == "tunnel-"
