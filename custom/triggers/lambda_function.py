"""A trigger that follows a function's log stream to its end marker, while no worker slot is held."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from cachetools import TTLCache

from custom.outcome import COMPLETE, ENDED, NOT_STARTED, OVERDUE, Invocation
from custom.relay import trigger_log
from custom.relay.following import UNLIKELY_DRAIN_SECONDS, StreamRelay
from custom.relay.writing import task_log_writer

# boto3 and the amazon provider take a second to import, which the triggerer's event loop must not wait for.
if TYPE_CHECKING:
    from custom.hooks.lambda_function import LambdaFunctionHook

# If a stream is quiet for this long, the function's own log is asked whether it has ended, with pauses that
# double: FilterLogEvents has a quota of 5 to 10 a second for the account.
QUIET_SECONDS = 5.0
LONGEST_QUIET_SECONDS = 60.0
# So many characters are shown before the next check whether there is room for more.
CHARS_AT_ONCE = 16_384

# Reading blocks, so it is done in threads, but not asyncio's own: an AWS that hangs holds up nothing else.
# One client serves all triggers of a connection for five minutes: the connection may change.
_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="lambda-trigger")
_hooks: TTLCache[tuple[str | None, str | None], "LambdaFunctionHook"] = TTLCache(maxsize=32, ttl=300)
_hooks_lock = threading.Lock()


class LambdaTrigger(BaseTrigger):
    """Copies a log stream to the task log as it grows, and fires once when the function has ended.

    It writes what the stream holds and nothing else: if a triggerer takes over from one that has died, it
    writes the same records again from the start, and Airflow's reader shows equal neighbours once. Nothing of
    the dead triggerer's file is in S3. The event says how the watch has ended (``outcome``), why
    (``reason``), and how far the relay has come (``position``).

    :param invocation: fields of a :class:`custom.outcome.Invocation`.
    :param poll_seconds: pause between two looks at the stream.
    :param drain_seconds: how long to wait for late log events once the end marker is there.
    """

    def __init__(
        self,
        *,
        invocation: dict[str, Any],
        poll_seconds: float,
        drain_seconds: float,
        aws_conn_id: str | None,
        region_name: str | None,
    ) -> None:
        """Keep the arguments; nothing is connected before :meth:`run`."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.invocation = Invocation(**invocation)
        self.poll_seconds = poll_seconds
        self.drain_seconds = drain_seconds
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self._relay: StreamRelay | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what a triggerer needs to make this trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "invocation": asdict(self.invocation),
            "poll_seconds": self.poll_seconds,
            "drain_seconds": self.drain_seconds,
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Follow the stream; fire once."""
        hook = await _in_thread(partial(_shared_hook, self.aws_conn_id, self.region_name))
        read = hook.stream_reader(self.invocation.group_name, self.invocation.stream_name)
        write = task_log_writer(self.invocation.function_name)
        relay = self._relay = StreamRelay(read, write, self.poll_seconds)
        watch = _Watch(self.invocation, relay, hook, self.drain_seconds)
        while not (outcome := await watch.outcome()):
            await asyncio.sleep(relay.pause)
        trigger_log.write_plainly(relay.flush)
        await trigger_log.read_by_supervisor()
        event = {"outcome": outcome, "reason": watch.reason, "position": relay.position()}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Show what is there when the task is killed, and say that the function goes on."""
        if self._relay is not None:
            await _copy(self._relay)
        self.log.warning(
            f"{self.invocation.function_name} goes on to its end: an asynchronous invocation cannot be "
            "cancelled. Its further lines are in the log stream only"
        )
        await trigger_log.read_by_supervisor()


class _Watch:
    """Tells from a stream, a clock and the function's own log whether a function has ended."""

    def __init__(
        self, invocation: Invocation, relay: StreamRelay, hook: "LambdaFunctionHook", drain_seconds: float
    ) -> None:
        self.reason = ""
        self._invocation = invocation
        self._relay = relay
        self._hook = hook
        self._drain_seconds = drain_seconds
        self._drain_until: float | None = None
        self._own_log_ended = self._end_seen = False
        self._expect_quiet(QUIET_SECONDS)

    def _expect_quiet(self, seconds: float) -> None:
        """Ask the function's own log after so many quiet seconds."""
        self._quiet_seconds = seconds
        self._ask_own_log_at = time.monotonic() + seconds

    async def outcome(self) -> str:
        """Copy what is new; return how it has ended, or an empty text."""
        if await _copy(self._relay):
            self._expect_quiet(QUIET_SECONDS)
        if self._relay.error:
            # What cannot be read is neither quiet nor drained.
            return self._is_overdue()
        if self._relay.is_complete():
            return COMPLETE
        if self._relay.follower.end is not None:
            if not self._end_seen:
                self._end_seen, self._drain_until = True, None
            return COMPLETE if self._is_drained(self._drain_seconds) else ""
        if await self._has_ended():
            return ENDED if self._is_drained(UNLIKELY_DRAIN_SECONDS) else ""
        return self._is_overdue()

    def _is_drained(self, seconds: float) -> bool:
        now = time.monotonic()
        self._drain_until = self._drain_until or now + seconds
        return now >= self._drain_until

    async def _has_ended(self) -> bool:
        if not self._own_log_ended and time.monotonic() >= self._ask_own_log_at:
            about = self._invocation
            # The log may not be there yet, or not ours to read: then time decides.
            with suppress(Exception):
                ask = partial(self._hook.own_log, about.log_group, about.request_id, about.invoked_at)
                own = await _in_thread(ask)
                self._own_log_ended, self.reason = own.ended, own.reason
            self._expect_quiet(min(self._quiet_seconds * 2, LONGEST_QUIET_SECONDS))
        return self._own_log_ended

    def _is_overdue(self) -> str:
        now = time.time()
        if now < self._invocation.start_deadline:
            return ""
        if self._relay.error:
            self.reason = f"the log stream could not be read: {self._relay.error}"
        elif not self._relay.stream_exists():
            return NOT_STARTED
        return OVERDUE if now >= self._invocation.deadline else ""


async def _copy(relay: StreamRelay) -> int:
    """Copy what is new in a stream; return how many events that was."""
    count = await _in_thread(relay.fetch)
    more = True
    while more:
        await trigger_log.room()
        more = trigger_log.write_plainly(lambda: relay.show(CHARS_AT_ONCE))
    return count


def _shared_hook(aws_conn_id: str | None, region_name: str | None) -> "LambdaFunctionHook":
    from custom.hooks.lambda_function import LambdaFunctionHook

    key = (aws_conn_id, region_name)
    with _hooks_lock:
        hook = _hooks.get(key)
        if hook is None:
            hook = _hooks[key] = LambdaFunctionHook(aws_conn_id=aws_conn_id, region_name=region_name)
            _ = hook.logs_client
        return hook


async def _in_thread[Result](call: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(_threads, copy_context().run, call)
