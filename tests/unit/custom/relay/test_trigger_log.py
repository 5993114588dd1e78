"""A trigger's records on their way to the supervisor, over a real pair of sockets."""

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import BinaryIO

import pytest
import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars, merge_contextvars

from custom.relay import trigger_log


@pytest.fixture
def supervisor() -> Iterator[socket.socket]:
    """The end that reads; the other one is where structlog writes, as Airflow sets it up in a triggerer."""

    class Factory:
        def __init__(self, io: BinaryIO) -> None:
            self.io = io

        def __call__(self, *_: object) -> structlog.BytesLogger:
            return structlog.BytesLogger(self.io)

    before = structlog.get_config()
    reading, writing = socket.socketpair()
    with reading, writing, open(writing.fileno(), "wb", buffering=0, closefd=False) as io:
        structlog.configure(
            processors=[merge_contextvars, structlog.processors.JSONRenderer(serializer=_dumps)],
            logger_factory=Factory(io),
            cache_logger_on_first_use=False,
        )
        yield reading
    structlog.configure(**before)


def _dumps(event: object, **_: object) -> bytes:
    return json.dumps(event).encode()


def read(reading: socket.socket, seconds: float) -> None:
    """Read as the supervisor does: some KB now and then."""

    def once() -> None:
        if trigger_log.unread_bytes():
            reading.recv(4096)
            read(reading, seconds)

    asyncio.get_running_loop().call_later(seconds, once)


def test_nothing_is_unread_where_nothing_is_sent() -> None:
    """In tests, in the scheduler: what cannot be told does not hold up."""
    assert trigger_log.unread_bytes() == 0
    asyncio.run(asyncio.wait_for(trigger_log.read_by_supervisor(), 1))


def test_it_waits_until_the_supervisor_has_read(supervisor: socket.socket) -> None:
    async def run() -> None:
        structlog.get_logger().info("x" * 10_000)
        assert trigger_log.unread_bytes() > 10_000
        waiting = asyncio.ensure_future(trigger_log.read_by_supervisor())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        read(supervisor, 0.01)
        await asyncio.wait_for(waiting, 5)
        assert trigger_log.unread_bytes() == 0

    asyncio.run(run())


def test_what_others_send_meanwhile_is_not_waited_for(supervisor: socket.socket) -> None:
    async def run() -> None:
        structlog.get_logger().info("mine")
        waiting = asyncio.ensure_future(trigger_log.read_by_supervisor())
        await asyncio.sleep(0.05)
        for _ in range(50):
            supervisor.recv(4096)
            await asyncio.sleep(trigger_log.POLL_SECONDS * 1.5)
            structlog.get_logger().info("another's")
            if waiting.done():
                return
        raise AssertionError("the socket was never seen empty, and so it waits on")

    asyncio.run(run())


def test_it_waits_for_room(supervisor: socket.socket) -> None:
    async def run() -> None:
        await asyncio.wait_for(trigger_log.room(), 1)
        structlog.get_logger().info("x" * (trigger_log.MAX_UNREAD_BYTES + 1))
        waiting = asyncio.ensure_future(trigger_log.room())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        read(supervisor, 0.01)
        await asyncio.wait_for(waiting, 5)

    asyncio.run(run())


def test_a_supervisor_that_does_not_read_is_not_waited_for_for_ever(
    supervisor: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trigger_log, "PATIENCE_SECONDS", 0.1)

    async def run() -> None:
        structlog.get_logger().info("unread")
        await asyncio.wait_for(trigger_log.read_by_supervisor(), 5)

    asyncio.run(run())


def test_records_carry_the_triggers_id_and_nothing_of_its_task(supervisor: socket.socket) -> None:
    bind_contextvars(trigger_id=7, dag_id="d", task_id="t")
    try:
        trigger_log.write_plainly(lambda: structlog.get_logger().info("a line"))

        assert json.loads(supervisor.recv(4096)) == {"event": "a line", "trigger_id": 7}
        assert get_contextvars() == {"trigger_id": 7, "dag_id": "d", "task_id": "t"}
    finally:
        clear_contextvars()
