import time
from typing import Any

import pytest

from windtunnel.airflow_api.client import AirflowClient
from windtunnel.airflow_api.task_log import LogRecord
from windtunnel.cli.follow import Follower, Key

from ..airflow_api.test_client import RUN_PATH, TASKS_PATH, run, task
from ..stand_ins.web_server import Server


def tasks(*listed: dict[str, Any]) -> dict[str, Any]:
    return {"task_instances": list(listed), "total_entries": len(listed)}


def log(*lines: str) -> dict[str, Any]:
    content = [{"timestamp": f"2026-01-01T00:00:0{line[0]}Z", "event": line} for line in lines]
    return {"content": content, "continuation_token": None}


@pytest.fixture
def seen() -> list[tuple[Key, str]]:
    return []


@pytest.fixture
def follower(server: Server, seen: list[tuple[Key, str]]) -> Follower:
    airflow = AirflowClient(server.address, "admin", "secret")
    server.answers("POST /api/v2/dags/demo-dag/dagRuns", run())

    def on_record(key: Key, record: LogRecord) -> None:
        seen.append((key, record.message))

    return Follower(airflow, airflow.trigger("demo-dag"), on_record, lambda: None)


def test_hands_over_each_record_once_until_the_run_has_ended(
    server: Server, follower: Follower, seen: list[tuple[Key, str]]
) -> None:
    server.answers(f"GET {RUN_PATH}", run("queued"), run("running"), run("running"), run("success"))
    server.answers(f"GET {TASKS_PATH}", tasks(task("queued")), tasks(task("running")))
    # The second look finds a record that arrived late, with an earlier time.
    server.answers(
        f"GET {TASKS_PATH}/demo-task/logs/1", log("1", "3"), log("1", "2", "3"), log("1", "2", "3", "4")
    )
    states: list[str] = []

    ended = follower.to_the_end(states.append)

    assert ended.state == "success"
    assert states == ["queued", "running", "success"]
    assert [message for _, message in seen] == ["1", "3", "2", "4"]


def test_equal_lines_of_a_log_are_all_shown(
    server: Server, follower: Follower, seen: list[tuple[Key, str]]
) -> None:
    server.answers(f"GET {RUN_PATH}", run("running"))
    server.answers(f"GET {TASKS_PATH}", tasks(task("running")))
    server.answers(f"GET {TASKS_PATH}/demo-task/logs/1", log("1", "1"), log("1", "1", "1"))

    follower.look()
    follower.look()

    assert [message for _, message in seen] == ["1", "1", "1"]


def test_shows_the_tries_before_the_present_one(
    server: Server, follower: Follower, seen: list[tuple[Key, str]]
) -> None:
    server.answers(f"GET {RUN_PATH}", run("running"))
    server.answers(
        f"GET {TASKS_PATH}", tasks(task("queued", try_number=2)), tasks(task("running", try_number=2))
    )
    server.answers(f"GET {TASKS_PATH}/demo-task/logs/1", log("1 first"))
    server.answers(f"GET {TASKS_PATH}/demo-task/logs/2", log("2 second"))

    follower.look()
    follower.look()

    assert seen == [(("demo-task", -1, 1), "1 first"), (("demo-task", -1, 2), "2 second")]
    first = [request for request, _ in server.requests if "/logs/1" in request]
    assert len(first) == 1, "a try that has ended is read once"


def test_a_log_that_is_not_there_yet_is_no_failure(
    server: Server, follower: Follower, seen: list[tuple[Key, str]]
) -> None:
    server.answers(f"GET {RUN_PATH}", run("running"))
    server.answers(f"GET {TASKS_PATH}", tasks(task("running")))
    server.answers(f"GET {TASKS_PATH}/demo-task/logs/1", {"detail": "not found"}, status=404)

    follower.look()

    assert seen == []


def test_that_a_run_waits_is_told_once(
    server: Server, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, told = [0.0], list[float]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    follower.on_wait = lambda: told.append(now[0])
    server.answers(f"GET {RUN_PATH}", run("running"))
    server.answers(f"GET {TASKS_PATH}/demo-task/logs/1", log())
    # One that is at work may be what the others wait for.
    looks = [(0, "queued"), (9, "running"), (12, "queued"), (21, "queued"), (22, "queued"), (40, "queued")]
    server.answers(f"GET {TASKS_PATH}", *(tasks(task(state)) for _, state in looks))

    for moment, _ in looks:
        now[0] = moment
        follower.look()

    assert told == [22]
