import json
from datetime import datetime

import pytest

from windtunnel.compose.stack import ComposeStack
from windtunnel.diagnosis import held_up

from ..stand_ins.docker import ALL_READY, Docker, answer_stack

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
