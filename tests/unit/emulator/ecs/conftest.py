"""ECS with no records and no tasks, and an agent that does what the test says."""

from collections.abc import Iterator
from typing import Any

import pytest
from moto.ecs.models import ecs_backends

from windtunnel_emulator.containers.work import Work, WorkQueue
from windtunnel_emulator.ecs import instances, lookup, operations, running

from ..calls import Call
from .requests import IMAGE, definition


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkQueue]:
    """The queue of this test."""
    queue = WorkQueue()
    for module in (instances, lookup, operations, running):
        monkeypatch.setattr(module, "queue", lambda: queue)
    ecs_backends.reset()
    yield queue
    queue.close()


@pytest.fixture
def ecs(call: Call, queue: WorkQueue) -> Call:
    """Calls an operation of ECS; there are a cluster ``airflow`` and a definition ``report``."""

    def make(operation: str, **parameters: Any) -> tuple[int, Any]:
        return call("ecs", operation, **parameters)

    assert make("CreateCluster", clusterName="airflow")[0] == 200
    assert make("RegisterTaskDefinition", **definition())[0] == 200
    return make


class StandInAgent:
    """Takes work and reports what it is told to."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue

    def poll(self, instance: dict[str, Any] | None = None, held: tuple[str, ...] = ()) -> list[Work]:
        """Take work."""
        return self._queue.poll("agent", [IMAGE], held, timeout=0, instance=instance)[0]

    def report(self, arn: str, status: str, **state: Any) -> None:
        """Report the state of a task."""
        containers = state.pop("containers", {"main": {"status": status}})
        assert self._queue.report(
            arn.rpartition("/")[2], {"status": status, "containers": containers, **state}
        )


@pytest.fixture
def agent(queue: WorkQueue) -> StandInAgent:
    """An agent, which nobody has heard of yet."""
    return StandInAgent(queue)
