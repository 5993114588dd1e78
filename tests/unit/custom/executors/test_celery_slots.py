"""What workers of Celery tell CloudWatch, with a stand-in for it and for time."""

import gc
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from celery.signals import worker_ready, worker_shutting_down

from custom.executors import celery_slots
from custom.executors.celery_slots import Slots

# 09:05:42
BEGIN = datetime(2026, 1, 1, 9, 5, 42, tzinfo=UTC).timestamp()
AWAY = EndpointConnectionError(endpoint_url="http://localhost:4566")
REFUSED = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutMetricData")


class CloudWatch:
    """What it was told, and what it raises, once each."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.errors: list[Exception | None] = []

    def put_metric_data(self, **arguments: Any) -> None:
        if self.errors and (error := self.errors.pop(0)):
            raise error
        self.told.append(arguments)

    @property
    def times(self) -> list[str]:
        return [f"{told['MetricData'][0]['Timestamp']:%H:%M}" for told in self.told]


@pytest.fixture
def cloudwatch(monkeypatch: pytest.MonkeyPatch) -> CloudWatch:
    made = CloudWatch()

    def client(service: str, config: Any) -> CloudWatch:
        assert service == "cloudwatch"
        # A worker that ends does not wait for it for long.
        assert config.read_timeout == 10
        return made

    monkeypatch.setattr(boto3, "client", client)
    return made


class Clock:
    """Time passes while a thread waits; a wait ends ``early``, the last one with the worker's end."""

    def __init__(self, slots: Slots, waits: int, early: float = 0) -> None:
        self.now = BEGIN
        self.waits = waits
        self._slots = slots
        self._early = early

    def time(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        assert 0 < seconds <= 60
        self.waits -= 1
        assert self.waits >= 0, "it goes on though the worker is told to stop"
        if not self.waits:
            self._slots.end(sender="celery@here", sig="SIGTERM")
        # Never quite asleep for nothing.
        self.now += max(seconds - self._early, 0.2)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let a worker with 4 slots live for so many waits."""

    def lived(waits: int, early: float = 0) -> Slots:
        slots = Slots(["tunnel-default", "tunnel-heavy"], 4)
        clock = Clock(slots, waits, early)
        monkeypatch.setattr(celery_slots, "time", clock)
        monkeypatch.setattr(slots._ending, "wait", clock.wait)
        slots.run()
        return slots

    return lived


def test_it_tells_of_its_slots_at_once_and_then_in_each_minute(run: Any, cloudwatch: CloudWatch) -> None:
    run(waits=3)

    assert cloudwatch.times == ["09:05", "09:06", "09:07"]
    first = cloudwatch.told[0]
    assert first["Namespace"] == "Airflow/Celery"
    assert first["MetricData"] == [
        {
            "MetricName": "Slots",
            "Dimensions": [{"Name": "Queue", "Value": queue}],
            "Timestamp": datetime(2026, 1, 1, 9, 5, tzinfo=UTC),
            "Value": 4,
            "Unit": "Count",
        }
        for queue in ("tunnel-default", "tunnel-heavy")
    ]


def test_a_wait_that_ends_early_counts_no_slot_twice(run: Any, cloudwatch: CloudWatch) -> None:
    run(waits=5, early=0.1)

    assert cloudwatch.times == ["09:05", "09:06", "09:07"]


def test_a_worker_that_is_told_to_stop_tells_no_more(run: Any, cloudwatch: CloudWatch) -> None:
    run(waits=1)

    assert cloudwatch.times == ["09:05"]


@pytest.mark.parametrize("error", [AWAY, REFUSED, OSError("no")])
def test_without_cloudwatch_it_goes_on_and_says_so_once(
    run: Any, cloudwatch: CloudWatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    cloudwatch.errors = [error, error, None, None]

    run(waits=4)

    assert cloudwatch.times == ["09:07", "09:08"]
    lost, again = caplog.records
    assert lost.levelno == logging.WARNING
    assert "CloudWatch does not take how many slots" in lost.message
    assert again.message == "CloudWatch takes it again"


def test_a_client_that_cannot_be_made_hurts_nothing(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def client(*_: Any, **__: Any) -> None:
        raise AWAY

    monkeypatch.setattr(boto3, "client", client)

    run(waits=2)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Slots]]:
    """The threads that were started, which do not run."""
    found: list[Slots] = []
    monkeypatch.setattr(threading.Thread, "start", lambda thread: found.append(thread))
    before = list(worker_shutting_down.receivers)
    yield found
    worker_shutting_down.receivers[:] = before


def test_it_begins_with_the_worker_and_ends_when_that_drains(started: list[Slots]) -> None:
    channel = SimpleNamespace(canonical_queue_name=lambda name: f"tunnel-{name}", has_answered=lambda: None)
    worker = Mock(
        connection=SimpleNamespace(default_channel=channel),
        app=SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from={"default": 1}))),
        pool=SimpleNamespace(num_processes=4),
    )

    try:
        assert not any(answer for _, answer in worker_ready.send(worker))
    finally:
        gc.unfreeze()

    (slots,) = started
    assert slots.daemon
    assert (slots._queues, slots._number) == (["tunnel-default"], 4)
    assert not slots._ending.is_set()
    worker_shutting_down.send("celery@here", sig="SIGTERM", how="Warm", exitcode=0)
    assert slots._ending.is_set()
