"""The trigger of `RemoteOperator`: what it logs, and that it fires when that is in the log."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.amazon.aws.triggers.ecs import TaskDoneTrigger
from airflow.triggers.base import TriggerEvent
from structlog.contextvars import bind_contextvars, get_contextvars

from custom.relay import trigger_log
from custom.triggers.remote import LINES_AT_ONCE, ContainerTrigger


@pytest.fixture
def trigger() -> ContainerTrigger:
    return ContainerTrigger("airflow", "arn", 1, 1, None, log_group="/group", log_stream="stream")


def test_it_fires_when_all_lines_are_in_the_log(
    trigger: ContainerTrigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened = []

    async def run(self: TaskDoneTrigger) -> AsyncIterator[TriggerEvent]:
        """As the provider's: the last lines come after the event."""
        happened.append(f"bound: {', '.join(get_contextvars())}")
        yield TriggerEvent({"status": "success"})  # type: ignore[no-untyped-call]
        happened.append("lines are logged")

    async def read_by_supervisor() -> None:
        happened.append("lines are in the log")

    monkeypatch.setattr(TaskDoneTrigger, "run", run)
    monkeypatch.setattr(trigger_log, "read_by_supervisor", read_by_supervisor)

    async def watch() -> None:
        bind_contextvars(trigger_id=7, dag_id="d", task_id="t")
        async for event in trigger.run():
            happened.append(event.payload["status"])

    asyncio.run(watch())
    assert happened == ["bound: trigger_id", "lines are logged", "lines are in the log", "success"]


class Stream:
    """A client for one stream: pages of events, each asked for by the number of those before it."""

    def __init__(self, *pages: int) -> None:
        numbers = iter(range(1, sum(pages) + 1))
        self._pages = [
            [{"timestamp": 0, "message": f"line {next(numbers)}"} for _ in range(n)] for n in pages
        ]

    async def get_log_events(self, nextToken: str = "0", **_: Any) -> dict[str, Any]:
        page = int(nextToken)
        is_end = page == len(self._pages)
        return {
            "events": [] if is_end else self._pages[page],
            "nextForwardToken": str(page if is_end else page + 1),
        }


def test_lines_of_several_pages_are_logged_once_and_when_there_is_room(
    trigger: ContainerTrigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []
    rooms: list[int] = []

    async def room() -> None:
        rooms.append(len(logged))

    monkeypatch.setattr(trigger_log, "room", room)
    log = SimpleNamespace(log=lambda level, line: logged.append(line))
    monkeypatch.setattr(type(trigger), "log", log)

    position = asyncio.run(trigger._forward_logs(Stream(2 * LINES_AT_ONCE + 50, 3)))

    assert [line.rpartition("] ")[2] for line in logged] == [
        f"line {number}" for number in range(1, 2 * LINES_AT_ONCE + 54)
    ]
    assert max(after - before for before, after in itertools.pairwise(rooms)) == LINES_AT_ONCE
    # From here on it is asked for more.
    assert position == "2"
