"""Work is handed to the agent that can run it, once, and what has become of it outlives LocalStack."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from windtunnel_emulator.containers import work as work_module
from windtunnel_emulator.containers.work import FILE, Work, WorkQueue

IMAGES = ["windtunnel-airflow", "own/*"]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time that the queue sees: its only element."""
    now = [1_000.0]
    monkeypatch.setattr(work_module.time, "time", lambda: now[0])
    yield now


def some_work(name: str = "one", image: str = "windtunnel-airflow", **more: Any) -> Work:
    return Work(name, "ecs", "0", "here", [{"name": "main", "image": image}], created=1_000.0, **more)


def polled(
    queue: WorkQueue, held: set[str] = frozenset(), images: list[str] = IMAGES
) -> tuple[list[str], list[str]]:  # type: ignore[assignment]
    start, stop = queue.poll("agent", images, held, timeout=0)
    return [one.id for one in start], [one.id for one in stop]


def test_an_agent_gets_what_it_can_run() -> None:
    queue = WorkQueue()
    queue.add(some_work())
    queue.add(some_work("tagged", "own/report:3"))
    queue.add(some_work("other", "ubuntu"))

    assert polled(queue) == (["one", "tagged"], [])


def test_work_is_given_again_until_it_is_held() -> None:
    queue = WorkQueue()
    queue.add(some_work())

    assert polled(queue)[0] == ["one"]
    assert polled(queue)[0] == ["one"]
    assert polled(queue, {"one"})[0] == []
    assert queue.poll("another", IMAGES, set(), timeout=0) == ([], [])


def test_what_ran_and_is_not_held_any_more_is_lost() -> None:
    queue = WorkQueue()
    queue.add(some_work())
    polled(queue)
    queue.report("one", {"status": "RUNNING", "containers": {}})

    assert polled(queue) == ([], [])
    found = queue.find("one")
    assert found and found.stopped
    assert found.state["reason"] == "The agent has lost it"


def test_a_wish_to_stop_is_repeated_until_it_is_acted_on() -> None:
    queue = WorkQueue()
    queue.add(some_work())
    polled(queue)
    queue.stop(queue.find("one") or some_work(), "UserInitiated", "enough")

    assert polled(queue, {"one"})[1] == ["one"]
    assert polled(queue, {"one"})[1] == ["one"]
    queue.report("one", {"status": "STOPPING", "stopping": 1_001.0, "containers": {}})
    assert polled(queue, {"one"})[1] == []


def test_work_that_nobody_has_stops_at_once() -> None:
    queue = WorkQueue()
    queue.add(some_work())
    queue.stop(queue.find("one") or some_work(), "UserInitiated", "enough")

    found = queue.find("one")
    assert found and found.stopped and found.state["reason"] == "enough"
    assert polled(queue) == ([], [])


def test_an_image_that_no_agent_runs_ends_the_work_with_the_reason(clock: list[float]) -> None:
    queue = WorkQueue()
    clock[0] += work_module.GRACE
    polled(queue)
    queue.add(some_work(image="ubuntu"))

    assert not (queue.find("one") or some_work()).stopped
    clock[0] += work_module.GRACE
    found = queue.find("one")
    assert found and found.stopped
    assert found.state["code"] == "TaskFailedToStart"
    assert found.state["reason"].startswith(
        "CannotPullContainerError: no agent of this stack can run ubuntu (agent runs "
    )


def test_without_any_agent_work_waits_for_one_to_start_and_then_says_so(clock: list[float]) -> None:
    queue = WorkQueue()
    queue.add(some_work())
    clock[0] += work_module.PATIENCE - 1
    assert not (queue.find("one") or some_work()).stopped

    clock[0] += work_module.GRACE + 1
    found = queue.find("one")
    assert found and "add the overlay ecs-agent" in found.state["reason"]


def test_what_an_agent_holds_that_is_gone_does_not_run_for_ever(clock: list[float]) -> None:
    queue = WorkQueue()
    queue.add(some_work())
    polled(queue)
    queue.report("one", {"status": "RUNNING", "containers": {}})
    clock[0] += work_module.PATIENCE + work_module.GRACE + 1

    found = queue.find("one")
    assert found and found.stopped and "does not answer" in found.state["reason"]


def test_work_begins_no_sooner_than_it_may(clock: list[float]) -> None:
    queue = WorkQueue()
    queue.add(some_work(not_before=1_030.0))
    assert polled(queue)[0] == []
    clock[0] = 1_030.0
    assert polled(queue)[0] == ["one"]


def test_a_question_is_answered_as_soon_as_there_is_work(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = WorkQueue()
    found: list[Work] = []
    asking = threading.Thread(target=lambda: found.extend(queue.poll("agent", IMAGES, set(), timeout=30)[0]))
    asking.start()
    queue.add(some_work())
    asking.join(timeout=10)
    assert [one.id for one in found] == ["one"]


def test_work_outlives_localstack(tmp_path: Path) -> None:
    queue = WorkQueue(tmp_path)
    queue.add(some_work(details={"taskArn": "arn"}))
    polled(queue)
    queue.report("one", {"status": "RUNNING", "containers": {"main": {"status": "RUNNING"}}})
    queue.close()

    again = WorkQueue(tmp_path)
    found = again.find("one")
    assert found and found.state["containers"]["main"]["status"] == "RUNNING"
    assert (found.agent, found.details) == ("agent", {"taskArn": "arn"})
    assert polled(again, {"one"}) == ([], [])


def test_what_has_stopped_is_forgotten_after_its_time(clock: list[float], tmp_path: Path) -> None:
    queue = WorkQueue(tmp_path)
    queue.add(some_work())
    queue.stop(queue.find("one") or some_work(), "UserInitiated", "enough")
    clock[0] += work_module.KEPT["ecs"] + 1
    queue.add(some_work("two"))

    assert queue.find("one") is None
    queue.close()
    assert WorkQueue(tmp_path).find("one") is None


def test_a_damaged_database_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_text("no database at all" * 1000)
    queue = WorkQueue(tmp_path)
    queue.add(some_work())

    assert "is damaged" in caplog.text
    assert (tmp_path / FILE).with_suffix(".damaged").exists()
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        assert database.execute("SELECT count(*) FROM records").fetchone() == (1,)


def test_a_service_is_told_of_each_change() -> None:
    queue = WorkQueue()
    seen: list[str] = []
    queue.listen("ecs", lambda work: seen.append(work.state["status"]))
    queue.add(some_work())
    polled(queue)
    queue.report("one", {"status": "RUNNING", "containers": {}})
    queue.report("one", {"status": "STOPPED", "containers": {}})
    queue.report("one", {"status": "RUNNING", "containers": {}})

    assert seen == ["RUNNING", "STOPPED"]


def test_what_nobody_knows_is_said_so() -> None:
    assert WorkQueue().report("one", {"status": "RUNNING", "containers": {}}) is False
