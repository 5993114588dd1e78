import json
from dataclasses import replace
from datetime import datetime

import pytest

from windtunnel.compose.stack import ComposeStack
from windtunnel.diagnosis import held_up

from ..stand_ins.docker import ALL_READY, CONFIGURATION, Docker, answer_stack

SINCE = datetime(2026, 1, 1, 9, 5).timestamp()
QUESTION = "compose exec --no-TTY webserver python -m windtunnel.services.answers held_up"


@pytest.fixture
def running(compose: ComposeStack, docker: Docker) -> ComposeStack:
    answer_stack(docker, ALL_READY)
    return compose


@pytest.mark.parametrize(("waiting", "who"), [(1, "1 task waits"), (1200, "1,200 tasks wait")])
def test_the_holders_of_slots_are_named(
    running: ComposeStack, docker: Docker, waiting: int, who: str
) -> None:
    holders = [["dag.sensor", SINCE], ["other.trigger", SINCE]]
    docker.answers(QUESTION, json.dumps({"slots": 2, "waiting": waiting, "holders": holders}))

    (found,) = held_up.findings(running)

    taken = "dag.sensor since 09:05, other.trigger since 09:05"
    assert found.problem == f"{who} for a slot: all 2 are taken by {taken}"
    assert "PARALLELISM" in found.remedy


def test_of_many_the_oldest_are_named(running: ComposeStack, docker: Docker) -> None:
    holders = [[f"dag.task{number}", SINCE] for number in range(16)]
    docker.answers(QUESTION, json.dumps({"slots": 16, "waiting": 1, "holders": holders}))

    (found,) = held_up.findings(running)

    assert f"and {16 - held_up.NAMED} more" in found.problem


def test_nothing_is_said_while_no_task_waits(running: ComposeStack, docker: Docker) -> None:
    docker.answers(QUESTION, json.dumps({"slots": 4, "waiting": 0, "holders": []}))

    assert held_up.findings(running) == []


# Celery's queues

QUEUED = "compose exec --no-TTY webserver python -m windtunnel.services.answers queued"


@pytest.fixture
def with_workers(running: ComposeStack, docker: Docker, monkeypatch: pytest.MonkeyPatch) -> ComposeStack:
    """Two workers of the queue default and none of the queue heavy."""
    docker.answers(QUESTION, json.dumps({"slots": 256, "waiting": 0, "holders": []}))
    commands = {"worker": ("default", 1), "heavy-worker": ("heavy", 0)}
    services = {
        name: {"command": ["celery-worker", "--queues", queue], "scale": scale}
        for name, (queue, scale) in commands.items()
    }
    everything = {**CONFIGURATION, "services": {**CONFIGURATION["services"], **services}}  # type: ignore[dict-item]
    monkeypatch.setattr(ComposeStack, "configuration", everything)
    return running


@pytest.mark.bad_input(78)
def test_a_queue_that_no_worker_serves_is_named_with_its_tasks(
    with_workers: ComposeStack, docker: Docker
) -> None:
    queues = [["default", 3, ["dag.fine"]], ["heavy", 1, ["dag.big"]], ["haevy", 1200, ["dag.a", "dag.b"]]]
    docker.answers(QUEUED, json.dumps(queues))

    heavy, misspelt = held_up.findings(with_workers)

    assert heavy.problem == "1 task waits in the queue heavy, which no worker serves: dag.big"
    assert "scale heavy-worker=1" in heavy.remedy
    assert misspelt.problem == "1,200 tasks wait in the queue haevy, which no worker serves: dag.a, dag.b"
    assert "WORKER_QUEUES=default,haevy" in misspelt.remedy


def test_a_queue_that_a_worker_serves_is_not(with_workers: ComposeStack, docker: Docker) -> None:
    docker.answers(QUEUED, json.dumps([["heavy", 1, ["dag.big"]]]))
    scaled = ComposeStack(replace(with_workers.settings, scale={"heavy-worker": 1}))

    assert held_up.findings(scaled) == []


def test_without_workers_of_celery_no_queue_is_asked_for(running: ComposeStack, docker: Docker) -> None:
    docker.answers(QUESTION, json.dumps({"slots": 4, "waiting": 0, "holders": []}))

    assert held_up.findings(running) == []
    assert QUEUED not in docker.calls
