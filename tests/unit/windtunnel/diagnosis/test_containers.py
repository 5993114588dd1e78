import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from windtunnel.diagnosis.containers import airflow_task, clock, more, outcome


def workload(**values: Any) -> str:
    """What an executor of the amazon provider hands over."""
    task = {"dag_id": "mine", "task_id": "count", "run_id": "run-1", "try_number": 2, "map_index": -1}
    return json.dumps({"token": "secret", "ti": {**task, **values}, "type": "ExecuteTask"})


@pytest.mark.parametrize(
    ("command", "task"),
    [
        (["python", "-m", "module", "--json-string", workload()], "mine.count, try 2"),
        ([workload(map_index=3)], "mine.count[3], try 2"),
        (["echo", "{}", "[1]", "3", '"ti"'], ""),
        ([], ""),
    ],
)
def test_the_task_of_airflow_is_read_from_the_command(command: list[str], task: str) -> None:
    assert airflow_task(command) == task


def test_a_time_of_another_day_has_its_date() -> None:
    now = datetime.now(UTC)
    earlier = now - timedelta(days=2)

    assert clock(now) == f"{now.astimezone():%H:%M}"
    assert clock(earlier) == f"{earlier.astimezone():%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("reason", "containers", "said"),
    [
        ("It exited", [{"name": "a", "exitCode": 1}], "It exited, exit code 1"),
        ("It exited", [{"name": "a", "exitCode": 0}], "It exited"),
        (
            "It exited",
            [{"name": "a", "exitCode": 137, "reason": "OutOfMemoryError"}, {"name": "b", "exitCode": 0}],
            "It exited, exit code 137 of a, OutOfMemoryError",
        ),
        ("No image", [{"name": "a", "reason": "No image"}], "No image"),
    ],
)
def test_how_containers_ended_is_said_once(reason: str, containers: list[Any], said: str) -> None:
    assert outcome(reason, containers) == said


def test_how_many_are_not_listed_is_said_if_there_are_any() -> None:
    assert more(10, 10) == []
    assert more(10, 1250) == [("  and 1,240 more", "", "")]
