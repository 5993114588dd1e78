"""When a revision is registered, and when the latest will do."""

import copy
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from custom.remote.definitions import matching
from custom.remote.errors import RemoteError
from tests.unit.custom.remote.ecs_stand_in import ARN, EcsStandIn
from windtunnel.waiting import wait_until

LOG: Any = logging.getLogger(__name__)

type Container = dict[str, Any]


def wanted(**more: Any) -> dict[str, Any]:
    container = {
        "name": "report",
        "image": "report:1",
        "essential": True,
        "command": ["python", "-m", "report"],
        "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": ""}],
        "secrets": [{"name": "P", "valueFrom": "/prod/p"}, {"name": "Q", "valueFrom": "/prod/q"}],
        "healthCheck": {"command": ["CMD", "true"]},
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/g"}},
    }
    return {
        "family": "f",
        "cpu": "256",
        "memory": "512",
        "executionRoleArn": "arn:aws:iam::000000000000:role/own",
        "requiresCompatibilities": ["FARGATE"],
        "containerDefinitions": [container],
        **more,
    }


@pytest.fixture(autouse=True)
def _locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_a_hundred_runs_register_one_revision() -> None:
    ecs = EcsStandIn()

    assert {matching(ecs.client, wanted(), LOG) for _ in range(100)} == {f"{ARN}f:1"}
    assert len(ecs.registered("f")) == 1


def changed(change: Callable[[dict[str, Any], Container], Any]) -> dict[str, Any]:
    other = copy.deepcopy(wanted())
    change(other, other["containerDefinitions"][0])
    return other


@pytest.mark.parametrize(
    "change",
    [
        lambda _, one: one["environment"].reverse(),
        lambda _, one: one["secrets"].reverse(),
        lambda _, one: one.pop("essential"),
        lambda _, one: one.update(cpu=0, portMappings=[], privileged=False),
        lambda _, one: one["healthCheck"].update(interval=30, timeout=5, retries=3),
        lambda whole, _: whole.update(executionRoleArn="own"),
        lambda whole, _: whole.update(volumes=[], placementConstraints=[]),
        lambda whole, _: whole.update(
            runtimePlatform={"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"}
        ),
    ],
)
def test_what_does_not_matter_makes_no_revision(change: Callable[[dict[str, Any], Container], Any]) -> None:
    ecs = EcsStandIn()
    matching(ecs.client, wanted(), LOG)

    matching(ecs.client, changed(change), LOG)

    assert len(ecs.registered("f")) == 1


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda _, one: one["environment"][0].update(value="2"), "report.environment.A"),
        (lambda _, one: one["environment"].pop(), "report.environment.B"),
        (lambda _, one: one["environment"].append({"name": "C", "value": ""}), "report.environment.C"),
        (lambda _, one: one["secrets"][1].update(valueFrom="/prod/other"), "report.secrets.Q"),
        (lambda _, one: one["command"].reverse(), "report.command"),
        (lambda _, one: one.update(image="report:2"), "report.image"),
        (lambda _, one: one["healthCheck"].update(interval=31), "report.healthCheck.interval"),
        (lambda _, one: one.pop("healthCheck"), "report.healthCheck.command"),
        (lambda _, one: one.update(stopTimeout=5), "report.stopTimeout"),
        (
            lambda _, one: one["logConfiguration"]["options"].update({"awslogs-group": "/h"}),
            "report.logConfiguration.options.awslogs-group",
        ),
        (lambda whole, _: whole.update(cpu="512", memory="1024"), "cpu"),
        (lambda whole, _: whole.update(taskRoleArn="mine"), "taskRoleArn"),
        (lambda whole, _: whole.update(executionRoleArn="other"), "executionRoleArn"),
        (lambda whole, _: whole.update(runtimePlatform={"cpuArchitecture": "ARM64"}), "runtimePlatform"),
        (lambda whole, _: whole.update(requiresCompatibilities=["EC2"]), "requiresCompatibilities.EC2"),
    ],
)
def test_what_matters_makes_one_and_the_log_names_it(
    change: Callable[[dict[str, Any], Container], Any], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    ecs = EcsStandIn()
    matching(ecs.client, wanted(), LOG)
    caplog.set_level(logging.INFO)

    assert matching(ecs.client, changed(change), LOG) == f"{ARN}f:2"

    assert name in caplog.records[-1].getMessage()
    assert "/prod/other" not in caplog.text


def test_a_container_that_is_not_essential_is_another_one() -> None:
    ecs = EcsStandIn()
    beside = {"name": "beside", "image": "beside:1"}
    two = wanted(containerDefinitions=[*wanted()["containerDefinitions"], {**beside, "essential": False}])
    matching(ecs.client, two, LOG)

    two["containerDefinitions"][1] = beside
    assert matching(ecs.client, two, LOG) == f"{ARN}f:2"
    two["containerDefinitions"].reverse()
    assert matching(ecs.client, two, LOG) == f"{ARN}f:2"


def test_only_an_active_revision_will_do() -> None:
    ecs = EcsStandIn()
    matching(ecs.client, wanted(), LOG)
    ecs.registered("f")[0]["status"] = "INACTIVE"

    assert matching(ecs.client, wanted(), LOG) == f"{ARN}f:2"


def test_tasks_of_one_machine_that_come_at_once_register_one_revision() -> None:
    ecs = EcsStandIn()
    ecs.go_on = threading.Event()

    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(matching, ecs.client, wanted(), LOG) for _ in range(5)]
        # Each has seen that there is none, and one has looked again before it registers.
        wait_until("all tasks to look", lambda: ecs.looks == 6, timeout=10)
        ecs.go_on.set()
        assert {one.result(10) for one in asked} == {f"{ARN}f:1"}

    assert len(ecs.registered("f")) == 1


def test_a_refusal_says_what_ecs_says_and_what_to_do() -> None:
    ecs = EcsStandIn()
    ecs.refusal = "No Fargate configuration exists for given values."

    with pytest.raises(
        RemoteError, match=r"definition f: ClientException: No Fargate .* Correct the service"
    ):
        matching(ecs.client, wanted(), LOG)
