"""Messages that SQS loses or does not take, with the provider's executor but for SQS and the database."""

import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.providers.celery.executors.celery_executor import CeleryExecutor as ProvidersCeleryExecutor
from airflow.providers.celery.executors.celery_executor_utils import ExceptionWithTraceback
from airflow.utils.state import TaskInstanceState
from botocore.exceptions import ClientError, EndpointConnectionError
from celery import states
from kombu.exceptions import OperationalError

from custom.executors import task_events
from custom.executors.celery_executor import LOOK_INTERVAL, PAUSE, CeleryExecutor

AWAY = EndpointConnectionError(endpoint_url="http://localhost:4566")


class Queues:
    """What the executor sees of SQS and of Celery's results."""

    def __init__(self) -> None:
        self.created: dict[str, str] = {}
        self.error: Exception | None = None
        self.sent: list[str] = []
        self.states: dict[str, str] = {}
        self.asked = 0

    def send(self, workloads: Any) -> list[Any]:
        found = []
        for key, workload, _queue, _team in workloads:
            result: Any = SimpleNamespace(task_id=key.task_id, result=None, backend=None)
            if self.error:
                result = ExceptionWithTraceback(self.error, "")
            else:
                self.sent.append(key.task_id)
            found.append((key, workload, result))
        return found

    def when(self, queue: str) -> str:
        self.asked += 1
        if self.error:
            raise self.error
        return self.created.setdefault(queue, "1")

    def get_many(self, results: Any) -> dict[str, tuple[str, None]]:
        return {one.task_id: (self.states.get(one.task_id, states.PENDING), None) for one in results}


@pytest.fixture
def queues() -> Queues:
    return Queues()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is saved among the events of tasks."""
    saved: list[Any] = []
    monkeypatch.setattr(task_events, "create_session", lambda: nullcontext(SimpleNamespace(add=saved.append)))
    return saved


@pytest.fixture
def executor(
    monkeypatch: pytest.MonkeyPatch, queues: Queues, clock: list[float], events: list[Any]
) -> CeleryExecutor:
    @contextmanager
    def connection() -> Any:
        yield SimpleNamespace(default_channel=SimpleNamespace(created=queues.when))

    monkeypatch.setattr(ProvidersCeleryExecutor, "_send_workloads_to_celery", queues.send)
    made = CeleryExecutor(parallelism=8)
    made.celery_app = SimpleNamespace(backend=None, connection_for_write=connection)
    made.bulk_state_fetcher = queues  # type: ignore[assignment]
    return made


@pytest.fixture
def queue(executor: CeleryExecutor) -> Callable[..., list[TaskInstanceKey]]:
    """Queue tasks by their names, as the scheduler does."""

    def queued(*names: str, queue: str = "default") -> list[TaskInstanceKey]:
        from airflow.executors.workloads import ExecuteTask

        keys = [TaskInstanceKey("dag", name, "run", 1, -1) for name in names]
        for key in keys:
            ti = SimpleNamespace(key=key, queue=queue, priority_weight=1)
            executor.queued_tasks[key] = ExecuteTask.model_construct(ti=ti)
        return keys

    return queued


def test_what_waits_in_a_queue_that_is_created_anew_is_sent_again(
    executor: CeleryExecutor,
    queues: Queues,
    clock: list[float],
    queue: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    queue("begun", "waits")
    queue("elsewhere", queue="heavy")
    executor.heartbeat()
    queues.states["begun"] = states.STARTED
    clock[0] += LOOK_INTERVAL
    executor.heartbeat()
    assert sorted(queues.sent) == ["begun", "elsewhere", "waits"]

    queues.created["default"] = "2"
    clock[0] += LOOK_INTERVAL
    executor.heartbeat()
    clock[0] += LOOK_INTERVAL
    executor.heartbeat()

    assert queues.sent[3:] == ["waits"]
    assert "The queue default was created anew: 1 messages are sent again" in capsys.readouterr().out


def test_what_is_not_sent_again_at_once_is_later(
    executor: CeleryExecutor, queues: Queues, clock: list[float], queue: Any
) -> None:
    queue("waits")
    executor.heartbeat()
    queues.error = AWAY
    clock[0] += LOOK_INTERVAL
    executor.heartbeat()
    queues.created["default"], queues.error = "2", None
    clock[0] += LOOK_INTERVAL
    executor.heartbeat()

    assert queues.sent == ["waits", "waits"]


def test_queues_are_looked_at_now_and_then_and_only_if_something_waits(
    executor: CeleryExecutor, queues: Queues, clock: list[float], queue: Any
) -> None:
    for _ in range(5):
        executor.heartbeat()
    assert queues.asked == 0

    queue("waits")
    for _ in range(5):
        executor.heartbeat()
    # Once before the first message, once afterwards.
    assert queues.asked == 2

    queues.states["waits"] = states.SUCCESS
    clock[0] += LOOK_INTERVAL
    executor.heartbeat()
    assert queues.asked == 2


@pytest.mark.parametrize("error", [AWAY, OperationalError("gone"), ConnectionRefusedError()])
def test_tasks_that_cannot_be_sent_are_held_back_and_do_not_fail(
    executor: CeleryExecutor,
    queues: Queues,
    clock: list[float],
    queue: Any,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    keys = queue("one", "other")
    queues.error = error
    for _ in range(3):
        executor.heartbeat()
        clock[0] += PAUSE

    assert list(executor.queued_tasks) == keys
    assert executor.event_buffer == {}
    assert capsys.readouterr().out.count("tasks are held back") == 1

    queues.error = None
    executor.heartbeat()
    assert (queues.sent, executor.running) == (["one", "other"], set(keys))


def test_sqs_is_not_asked_for_each_of_them(
    monkeypatch: pytest.MonkeyPatch, executor: CeleryExecutor, queues: Queues, clock: list[float], queue: Any
) -> None:
    tried: list[Any] = []

    def send(_: Any, workloads: Any) -> list[Any]:
        tried.extend(workloads)
        return queues.send(workloads)

    monkeypatch.setattr(ProvidersCeleryExecutor, "_send_workloads_to_celery", send)
    queue("one", "other")
    queues.error = AWAY
    executor.heartbeat()
    executor.heartbeat()

    assert len(tried) == 1


def test_a_message_that_sqs_refuses_fails_its_task(
    executor: CeleryExecutor, queues: Queues, queue: Any
) -> None:
    (key,) = queue("one")
    queues.error = ClientError({"Error": {"Code": "InvalidParameterValue"}}, "SendMessage")

    executor.heartbeat()

    assert executor.event_buffer == {key: (TaskInstanceState.FAILED, None)}


def test_a_task_that_is_given_up_has_its_reason_among_its_events(
    executor: CeleryExecutor, queues: Queues, clock: list[float], queue: Any, events: list[Any]
) -> None:
    (key,) = queue("one")
    executor.heartbeat()
    executor.workloads[key].result = RuntimeError("the worker is lost")
    queues.states["one"] = states.FAILURE
    clock[0] += LOOK_INTERVAL

    executor.heartbeat()

    (event,) = events
    assert (event.event, event.extra) == ("celery task failed", "RuntimeError: the worker is lost")
    assert executor.event_buffer[key] == (TaskInstanceState.FAILED, None)


def test_a_task_that_was_queued_for_too_long_is_forgotten(
    executor: CeleryExecutor, queues: Queues, clock: list[float], queue: Any
) -> None:
    (key,) = queue("one")
    executor.heartbeat()

    executor.revoke_task(ti=SimpleNamespace(key=key))  # type: ignore[arg-type]
    queues.created["default"] = "2"
    clock[0] += LOOK_INTERVAL
    executor.heartbeat()

    assert (executor.running, executor.workloads, queues.sent) == (set(), {}, ["one"])


def test_no_log_server_is_asked(executor: CeleryExecutor) -> None:
    """Airflow asks it, and shows that it has failed, if an executor names no place of the log."""
    places, lines = executor.get_task_log(SimpleNamespace(), 1)  # type: ignore[arg-type]

    assert (len(places), lines) == (1, [])


def test_of_a_task_that_goes_on_after_a_deferral_the_first_end_is_no_end(
    executor: CeleryExecutor, queues: Queues, queue: Any
) -> None:
    """So `deferral_aware.py` is not needed here: the second part's message replaces the first's."""
    (key,) = queue("one")
    executor.heartbeat()
    first = executor.workloads[key]
    first.task_id = "the first part"
    queues.states["the first part"] = states.SUCCESS
    queue("one")

    executor.heartbeat()

    assert executor.workloads[key] is not first
    assert executor.event_buffer == {key: (TaskInstanceState.QUEUED, "one")}
