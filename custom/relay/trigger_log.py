"""A trigger's records go over a socket to the triggerer's supervisor, which writes them to the log.

The supervisor closes and uploads a trigger's log as soon as the trigger has ended: it loses records that are
still in the socket. While the socket is full, the triggerer's event loop stands still.
"""

import asyncio
import fcntl
import termios
from array import array
from collections.abc import Callable
from contextvars import copy_context

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

# Far below what a socket holds (200 KB), so that other triggers find room.
MAX_UNREAD_BYTES = 32_768
# The supervisor reads 4 KB, then looks after its triggers in the database, then reads again.
POLL_SECONDS = 0.02
# A supervisor that has not read in this time is not going to read.
PATIENCE_SECONDS = 60.0


def unread_bytes() -> int:
    """Return how many logged bytes the supervisor has not read yet; 0 outside a triggerer and off Linux."""
    count = array("i", [0])
    try:
        fcntl.ioctl(structlog.get_config()["logger_factory"].io.fileno(), termios.TIOCOUTQ, count)
    except (AttributeError, OSError, ValueError):
        return 0
    return count[0]


async def room() -> None:
    """Wait until more can be logged without holding up the event loop."""
    await _until(lambda: unread_bytes() <= MAX_UNREAD_BYTES)


async def read_by_supervisor() -> None:
    """Wait until everything that was logged before this call is in the log.

    Others log meanwhile, so the socket need not run empty: the bytes that leave it are counted.
    """
    before = left = unread_bytes()

    def all_read() -> bool:
        nonlocal before, left
        now = unread_bytes()
        left -= max(before - now, 0)
        before = now
        return left <= 0 or now == 0

    await _until(all_read)


def be_plain() -> None:
    """Leave dag, run and so on, which Airflow binds to each record of a trigger, out of this context's.

    For a short line that is half of the bytes that the supervisor has to read.
    """
    # The supervisor finds the log by it.
    trigger_id = get_contextvars().get("trigger_id")
    clear_contextvars()
    bind_contextvars(trigger_id=trigger_id)


def write_plainly[Result](write: Callable[[], Result]) -> Result:
    """Call what logs, and have its records plain; later ones are as they were."""

    def plainly() -> Result:
        be_plain()
        return write()

    return copy_context().run(plainly)


async def _until(done: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not done() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(POLL_SECONDS)
