"""What a container learns about itself and its task."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from windtunnel.agent.metadata import VARIABLE, Metadata
from windtunnel.agent.task import Task

from .cloudwatch import CloudWatch
from .conftest import StandInEmulator
from .containers import container

ABOUT = {
    "arn": "arn:task/one",
    "cluster": "arn:cluster/airflow",
    "definition": "arn:aws:ecs:task-definition/report:3",
    "launch_type": "FARGATE",
    "availability_zone": "ap-southeast-2a",
    "tags": [{"key": "team", "value": "data"}],
    "containers": {"main": "arn:container/main"},
}


@pytest.fixture
def task(tmp_path: Path, emulator: StandInEmulator, cloudwatch: CloudWatch) -> Task:
    ordered = {"id": "one", "memory": 512, "cpu": 256, "task": ABOUT, "containers": [container(memory=64)]}
    return Task(ordered, tmp_path, None, emulator, lambda _: cloudwatch)  # type: ignore[arg-type]


@pytest.fixture
def metadata(task: Task) -> Iterator[Metadata]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        metadata = Metadata(listening)
        server = metadata.serve({"one": task}.get)
        yield metadata
        # Without its socket it would go round and round, until the end of all tests.
        server.shutdown()


def get(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - our own
        return json.load(answer)


def test_a_container_is_told_where_to_ask(metadata: Metadata, task: Task) -> None:
    variables = metadata.variables(task, "main")
    found = get(variables[VARIABLE])

    assert variables["AWS_EXECUTION_ENV"] == "AWS_ECS_FARGATE"
    assert (found["Name"], found["DockerId"], found["ContainerARN"]) == (
        "main",
        "one-main",
        "arn:container/main",
    )
    assert found["Labels"]["com.amazonaws.ecs.task-definition-version"] == "3"
    assert found["Limits"] == {"Memory": 64}
    assert (found["LogDriver"], found["LogOptions"]["awslogs-stream"]) == ("awslogs", "main")


def test_it_may_ask_about_its_task(metadata: Metadata, task: Task) -> None:
    address = metadata.variables(task, "main")[VARIABLE]
    found = get(f"{address}/task")

    assert (found["Cluster"], found["TaskARN"]) == ("arn:cluster/airflow", "arn:task/one")
    assert (found["Family"], found["Revision"]) == ("report", "3")
    assert found["Limits"] == {"CPU": 0.25, "Memory": 512}
    assert (found["DesiredStatus"], found["KnownStatus"]) == ("RUNNING", "PENDING")
    assert [one["Name"] for one in found["Containers"]] == ["main"]
    assert "TaskTags" not in found
    assert get(f"{address}/taskWithTags")["TaskTags"] == {"team": "data"}


@pytest.mark.parametrize("path", ["/v4/one-other", "/v4/two-main", "/v3/one-main", "/v4/one-main/stats", "/"])
def test_what_is_not_there_is_not_found(metadata: Metadata, task: Task, path: str) -> None:
    address = metadata.variables(task, "main")[VARIABLE].partition("/v4")[0]
    with pytest.raises(urllib.error.HTTPError, match="404") as raised:
        get(f"{address}{path}")
    raised.value.close()


def test_work_of_another_service_has_none(metadata: Metadata, task: Task) -> None:
    task.ordered = {**task.ordered, "task": None}

    assert metadata.variables(task, "main") == {}
