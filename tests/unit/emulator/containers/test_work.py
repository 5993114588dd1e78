"""Work is handed to the agent that can run it, once, and what has become of it outlives LocalStack."""

import sqlite3
import stat
import threading
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from windtunnel.waiting import wait_until
from windtunnel_emulator.containers import work as work_module
from windtunnel_emulator.containers.work import FILE, Work, WorkQueue

IMAGES = ["windtunnel-airflow", "own/*"]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the queue sees: its only element."""
    now = [1_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    return now


@pytest.fixture
def queue() -> Iterator[WorkQueue]:
    queue = WorkQueue()
    yield queue
    queue.close()


def found(queue: WorkQueue, name: str = "one") -> Work:
    work = queue.find(name)
    assert work
    return work


def some_work(name: str = "one", image: str = "windtunnel-airflow", **more: Any) -> Work:
    return Work(name, "ecs", "0", "here", [{"name": "main", "image": image}], created=1_000.0, **more)


def polled(
    queue: WorkQueue, held: Collection[str] = (), images: Collection[str] = IMAGES
) -> tuple[list[str], list[str]]:
    start, stop = queue.poll("agent", images, held, timeout=0)
    return [one.id for one in start], [one["id"] for one in stop]


def test_an_agent_gets_what_it_can_run(queue: WorkQueue) -> None:
    queue.add(some_work())
    queue.add(some_work("tagged", "own/report:3"))
    queue.add(some_work("other", "ubuntu"))

    assert polled(queue) == (["one", "tagged"], [])


def test_the_agent_that_names_an_image_more_closely_gets_it(queue: WorkQueue) -> None:
    queue.poll("any", ["*", "!windtunnel-airflow"], set(), timeout=0)
    polled(queue)
    for name, image in (("stack", "windtunnel-airflow"), ("own", "own/report:3"), ("other", "ubuntu")):
        queue.add(some_work(name, image))

    start, _ = queue.poll("any", ["*", "!windtunnel-airflow"], set(), timeout=0)
    assert [one.id for one in start] == ["other"]
    assert polled(queue)[0] == ["stack", "own"]


def test_an_image_that_an_agent_is_not_to_run_waits_for_another_agent(
    queue: WorkQueue, clock: list[float]
) -> None:
    clock[0] += work_module.GRACE
    queue.add(some_work())
    assert queue.poll("any", ["*", "!windtunnel-airflow"], set(), timeout=0) == ([], [])
    assert polled(queue)[0] == ["one"]


def test_work_is_given_again_until_it_is_held(queue: WorkQueue) -> None:
    queue.add(some_work())

    assert polled(queue)[0] == ["one"]
    assert polled(queue)[0] == ["one"]
    assert polled(queue, {"one"})[0] == []
    assert queue.poll("another", IMAGES, set(), timeout=0) == ([], [])


def test_what_ran_and_is_not_held_any_more_is_lost(queue: WorkQueue) -> None:
    queue.add(some_work())
    polled(queue)
    queue.report("one", {"status": "RUNNING", "containers": {}})

    assert polled(queue) == ([], [])
    assert found(queue).stopped
    assert found(queue).state["reason"] == "The agent has lost it"


def test_a_wish_to_stop_is_repeated_until_it_is_acted_on(queue: WorkQueue) -> None:
    queue.add(some_work())
    polled(queue)
    queue.stop(found(queue), "UserInitiated", "enough")

    assert polled(queue, {"one"})[1] == ["one"]
    assert polled(queue, {"one"})[1] == ["one"]
    queue.report("one", {"status": "STOPPING", "stopping": 1_001.0, "containers": {}})
    assert polled(queue, {"one"})[1] == []


def test_work_that_nobody_has_stops_at_once(queue: WorkQueue) -> None:
    queue.add(some_work())
    queue.stop(found(queue), "UserInitiated", "enough")

    assert found(queue).stopped
    assert found(queue).state["reason"] == "enough"
    assert polled(queue) == ([], [])


@pytest.mark.bad_input(75)
def test_an_image_that_no_agent_runs_ends_the_work_with_the_reason(
    queue: WorkQueue, clock: list[float]
) -> None:
    clock[0] += work_module.GRACE
    polled(queue)
    queue.add(some_work(image="ubuntu"))

    assert not (found(queue)).stopped
    clock[0] += work_module.GRACE
    assert found(queue).stopped
    assert found(queue).state["code"] == "TaskFailedToStart"
    assert (
        found(queue)
        .state["reason"]
        .startswith("CannotPullContainerError: no agent of this stack can run ubuntu (agent runs ")
    )


def test_without_any_agent_work_waits_for_one_to_start_and_then_says_so(
    queue: WorkQueue, clock: list[float]
) -> None:
    queue.add(some_work())
    clock[0] += work_module.PATIENCE - 1
    assert not (found(queue)).stopped

    clock[0] += work_module.GRACE + 1
    assert "add the overlay ecs-agent" in found(queue).state["reason"]


def test_what_an_agent_holds_that_is_gone_does_not_run_for_ever(queue: WorkQueue, clock: list[float]) -> None:
    queue.add(some_work())
    polled(queue)
    queue.report("one", {"status": "RUNNING", "containers": {}})
    clock[0] += work_module.PATIENCE + work_module.GRACE + 1

    assert found(queue).stopped
    assert "does not answer" in found(queue).state["reason"]


def test_work_begins_no_sooner_than_it_may(queue: WorkQueue, clock: list[float]) -> None:
    queue.add(some_work(not_before=1_030.0))
    assert polled(queue)[0] == []
    clock[0] = 1_030.0
    assert polled(queue)[0] == ["one"]


def test_a_question_is_answered_as_soon_as_there_is_work(queue: WorkQueue) -> None:
    got: list[Work] = []
    asking = threading.Thread(target=lambda: got.extend(queue.poll("agent", IMAGES, set(), timeout=30)[0]))
    asking.start()
    queue.add(some_work())
    asking.join(timeout=10)
    assert [one.id for one in got] == ["one"]


def test_work_outlives_localstack(tmp_path: Path) -> None:
    queue = WorkQueue(tmp_path)
    queue.add(some_work(details={"taskArn": "arn"}))
    polled(queue)
    queue.report("one", {"status": "RUNNING", "containers": {"main": {"status": "RUNNING"}}})
    queue.close()

    again = WorkQueue(tmp_path)
    work = found(again)
    assert work.state["containers"]["main"]["status"] == "RUNNING"
    assert (work.agent, work.details) == ("agent", {"taskArn": "arn"})
    assert polled(again, {"one"}) == ([], [])
    again.close()


def test_what_has_stopped_is_forgotten_after_its_time(clock: list[float], tmp_path: Path) -> None:
    queue = WorkQueue(tmp_path)
    queue.add(some_work())
    queue.stop(found(queue), "UserInitiated", "enough")
    clock[0] += work_module.KEPT["ecs"] + 1
    queue.add(some_work("two"))

    assert queue.find("one") is None
    queue.close()
    again = WorkQueue(tmp_path)
    assert again.find("one") is None
    again.close()


def test_a_damaged_database_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_text("no database at all" * 1000)
    queue = WorkQueue(tmp_path)
    queue.add(some_work())

    assert "is damaged" in caplog.text
    assert (tmp_path / FILE).with_suffix(".damaged").exists()
    queue.close()
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        assert database.execute("SELECT count(*) FROM records").fetchone() == (1,)


def test_a_service_is_told_of_each_change(queue: WorkQueue) -> None:
    seen: list[str] = []
    queue.listen("ecs", lambda work: seen.append(work.state["status"]))
    queue.add(some_work())
    polled(queue)
    queue.report("one", {"status": "RUNNING", "containers": {}})
    queue.report("one", {"status": "STOPPED", "containers": {}})
    queue.report("one", {"status": "RUNNING", "containers": {}})

    assert seen == ["RUNNING", "STOPPED"]


def test_what_nobody_knows_is_said_so(queue: WorkQueue) -> None:
    assert queue.report("one", {"status": "RUNNING", "containers": {}}) is False


def running(queue: WorkQueue, **more: Any) -> Work:
    """Work that the agent runs."""
    queue.add(some_work(**more))
    polled(queue)
    queue.report("one", {"status": "RUNNING", "containers": {}, "at": 1_000.0})
    return found(queue)


def test_a_report_that_comes_late_changes_nothing(queue: WorkQueue) -> None:
    running(queue)
    assert queue.report("one", {"status": "PENDING", "containers": {}, "at": 999.0})

    assert found(queue).state["status"] == "RUNNING"
    assert found(queue).state["version"] == 1


def test_a_question_of_an_agent_that_is_gone_takes_nothing_from_the_next_one(queue: WorkQueue) -> None:
    answers: list[Any] = []
    old = threading.Thread(target=lambda: answers.append(queue.poll("agent", IMAGES, set(), timeout=30)))
    old.start()
    wait_until("the first question", lambda: queue.agents(), timeout=10)
    queue.poll("agent", IMAGES, {"none"}, timeout=0)
    old.join(timeout=10)

    assert answers == [([], [])]
    running(queue)
    assert polled(queue, {"one"}) == ([], [])
    assert not found(queue).stopped


@pytest.mark.parametrize("held", ["unknown", "one"])
def test_what_is_held_though_it_is_given_up_is_to_be_stopped(
    queue: WorkQueue, clock: list[float], held: str
) -> None:
    """Otherwise it would run on, and its end interest nobody."""
    running(queue)
    clock[0] += work_module.PATIENCE + work_module.GRACE + 1
    assert found(queue).stopped

    assert polled(queue, {held})[1] == [held]
    assert queue.poll("agent", IMAGES, {held}, timeout=0, stopping={held}) == ([], [])


def test_what_has_ended_by_itself_is_not_to_be_stopped(queue: WorkQueue) -> None:
    running(queue)
    queue.report("one", {"status": "STOPPED", "containers": {}, "at": 1_001.0})

    assert polled(queue, {"one"}) == ([], [])


def test_work_that_is_placed_is_for_one_agent_alone(queue: WorkQueue) -> None:
    queue.add(some_work(place="another"))

    assert polled(queue) == ([], [])
    assert [one.id for one in queue.placed_on("another")] == ["one"]
    start, _ = queue.poll("another", IMAGES, (), timeout=0)
    assert [one.id for one in start] == ["one"]


def test_nobody_else_reads_what_tasks_are_given(tmp_path: Path) -> None:
    queue = WorkQueue(tmp_path / "containers")
    queue.close()

    assert stat.S_IMODE((tmp_path / "containers").stat().st_mode) == 0o700


def test_questions_are_answered_when_localstack_ends(queue: WorkQueue) -> None:
    """It would wait for them, up to twenty seconds, and be killed."""
    asking = threading.Thread(target=lambda: queue.poll("agent", IMAGES, set(), timeout=60))
    asking.start()
    wait_until("the question to be held open", lambda: queue.agents().get("agent"), timeout=5)

    queue.end_questions()

    asking.join(timeout=5)
    assert not asking.is_alive()
    assert queue.is_ending
