"""The trigger: what it shows, when it fires, and what it tells the task."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent

from airflow_relay import contract
from airflow_relay.contract import EndMarker
from custom import outcome
from custom.hooks.lambda_function import OwnLog
from custom.relay import trigger_log
from custom.relay.following import StreamRelay
from custom.relay.writing import Line
from custom.triggers import lambda_function
from custom.triggers.lambda_function import LambdaTrigger

REASON = "Task timed out after 3.00 seconds"


def line(number: int, text: str) -> str:
    (message,) = contract.encode_line(20, text, number)
    return message


def end(number: int, **more: Any) -> str:
    return contract.encode_end(EndMarker("succeeded", number - 1, number=number, **more))


class Hook:
    """A stream of which each read returns one part, and a function's own log.

    :param parts: None is a read before the stream exists, an exception a read that fails.
    """

    def __init__(
        self, *parts: list[str] | Exception | None, own_log: OwnLog | Exception | None = None
    ) -> None:
        self.parts = list(parts)
        self.own = own_log or OwnLog()
        self.asked: list[tuple[str, str, float]] = []
        self.reading_threads: set[int] = set()

    def stream_reader(self, group: str, stream: str) -> Callable[[str | None], Any]:
        assert (group, stream) == ("/g", "s")

        def read(token: str | None) -> tuple[list[dict[str, Any]], str | None]:
            part = self.parts.pop(0) if self.parts else []
            if isinstance(part, Exception):
                raise part
            if part is None:
                return [], None
            return [{"message": message, "timestamp": 1000} for message in part], "token"

        return read

    def own_log(self, log_group: str, request_id: str, since: float) -> OwnLog:
        self.asked.append((log_group, request_id, since))
        if isinstance(self.own, Exception):
            raise self.own
        return self.own


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What goes into the task log."""
    lines: list[str] = []

    def task_log_writer(name: str) -> Callable[[Line], None]:
        assert name == "f"
        return lambda line: lines.append(line.text)

    monkeypatch.setattr(lambda_function, "task_log_writer", task_log_writer)
    return lines


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_function, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(lambda_function, "UNLIKELY_DRAIN_SECONDS", 0.02)


@pytest.fixture
def fire(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run a trigger to its event."""

    def fire(hook: Hook, **changes: Any) -> dict[str, Any]:
        monkeypatch.setattr(lambda_function, "_shared_hook", lambda *_: hook)

        async def events() -> list[TriggerEvent]:
            return [event async for event in make(**changes).run()]

        (event,) = asyncio.run(asyncio.wait_for(events(), 5))
        payload: dict[str, Any] = event.payload
        return payload

    return fire


def make(**changes: Any) -> LambdaTrigger:
    invocation: dict[str, Any] = {
        "function_name": "f", "group_name": "/g", "stream_name": "s", "request_id": "r",
        "log_group": "/aws/lambda/f", "invoked_at": time.time(), "start_timeout": 60.0, "timeout": 3,
    }  # fmt: skip
    return LambdaTrigger(
        invocation=invocation | changes,
        poll_seconds=0.01,
        drain_seconds=0.2,
        aws_conn_id=None,
        region_name=None,
    )


def test_it_is_made_again_from_what_it_serializes() -> None:
    path, arguments = make(request_id="again").serialize()

    assert path == "custom.triggers.lambda_function.LambdaTrigger"
    assert LambdaTrigger(**arguments).serialize() == (path, arguments)


def test_it_shows_the_lines_and_fires_at_the_end_marker(fire: Any, shown: list[str]) -> None:
    event = fire(Hook(None, [line(1, "one")], [], [line(2, "two"), end(3)]))

    assert shown == ["one", "two"]
    assert event["outcome"] == "complete"


def test_the_position_lets_the_task_go_on_without_showing_anything_twice(fire: Any, shown: list[str]) -> None:
    event = fire(Hook([line(1, "one"), line(3, "three"), end(4)]))

    written: list[Line] = []
    again = [{"message": message, "timestamp": 1} for message in (line(1, "one"), line(2, "late"), end(4))]
    relay = StreamRelay(lambda _: (again, "t"), written.append, 0.1, event["position"])
    relay.copy_new()

    assert shown == ["one", "three"]
    assert [one.text for one in written] == ["late"]
    assert relay.is_complete()


def test_the_event_goes_without_the_result(fire: Any) -> None:
    """Airflow logs the event, and the result may be long, or nobody else's business."""
    event = fire(Hook([end(1, result={"secret": 1}, result_bytes=13)]))

    assert event["position"]["follower"]["end"]["result_bytes"] == 13
    assert "secret" not in str(event)


def test_late_events_are_waited_for_behind_the_end_marker(fire: Any, shown: list[str]) -> None:
    fire(Hook([end(2)], [], [], [line(1, "late")]))

    assert shown == ["late"]


def test_missing_events_do_not_hold_it_up_for_long(fire: Any) -> None:
    event = fire(Hook([end(2)]))

    assert event["outcome"] == "complete"
    assert event["position"]["follower"]["awaited"] == [[1, 1]]


def test_a_line_in_pieces_is_whole(fire: Any, shown: list[str]) -> None:
    first, second = (f"[INFO #{number} {number}/2] {text}" for number, text in enumerate(("ha", "lf"), 1))
    fire(Hook([first], [second, end(3)]))

    assert shown == ["half"]


def test_an_end_without_marker_is_found_in_the_own_log(fire: Any, shown: list[str]) -> None:
    hook = Hook([line(1, "one")], own_log=OwnLog("own", ended=True, reason=REASON))

    event = fire(hook, invoked_at=(invoked_at := time.time()))

    assert event["outcome"] == "ended"
    assert event["reason"] == REASON
    assert hook.asked == [("/aws/lambda/f", "r", invoked_at)]
    assert shown == ["one"]


def test_events_that_come_after_the_own_log_says_so_are_shown(
    fire: Any, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambda_function, "QUIET_SECONDS", 0)
    monkeypatch.setattr(lambda_function, "UNLIKELY_DRAIN_SECONDS", 5)

    event = fire(Hook(None, None, None, [line(1, "one"), end(2)], own_log=OwnLog("own", ended=True)))

    assert event["outcome"] == "complete"
    assert shown == ["one"]


def test_a_function_that_is_quiet_but_runs_is_waited_for(fire: Any, shown: list[str]) -> None:
    hook = Hook([line(1, "one")], *[[]] * 30, [end(2)], own_log=OwnLog("own", ended=False))

    assert fire(hook)["outcome"] == "complete"
    # With pauses that double.
    assert 1 <= len(hook.asked) <= 4


def test_an_own_log_that_cannot_be_read_ends_nothing(fire: Any) -> None:
    hook = Hook([line(1, "one")], *[[]] * 20, [end(2)], own_log=PermissionError("denied"))

    assert fire(hook)["outcome"] == "complete"


def test_a_stream_that_never_comes_ends_it(fire: Any) -> None:
    long_ago = time.time() - 60 - outcome.START_MARGIN_SECONDS - 1

    assert fire(Hook(*[None] * 100), invoked_at=long_ago)["outcome"] == "not started"


def test_no_end_marker_by_the_deadline_ends_it(fire: Any) -> None:
    """Start, timeout, margin: as long as a function can be at work."""
    margins = outcome.START_MARGIN_SECONDS + outcome.END_MARGIN_SECONDS
    long_ago = time.time() - 60 - 3 - margins - 1

    assert fire(Hook([line(1, "one")]), invoked_at=long_ago)["outcome"] == "overdue"


def test_before_the_deadline_it_goes_on(fire: Any) -> None:
    """Also one that takes over after long."""
    late = time.time() - 60 - 3

    assert fire(Hook([], [], [end(1)]), invoked_at=late)["outcome"] == "complete"


def test_after_the_deadline_a_triggerer_that_takes_over_finds_what_is_there(
    fire: Any, shown: list[str]
) -> None:
    event = fire(Hook([line(1, "one"), end(2)]), invoked_at=time.time() - 10_000)

    assert event["outcome"] == "complete"
    assert shown == ["one"]


def test_reads_that_fail_are_repeated(fire: Any, shown: list[str]) -> None:
    event = fire(Hook([line(1, "one")], OSError("away"), [end(2)]))

    assert event["outcome"] == "complete"
    assert shown == ["one"]


def test_what_kept_it_from_reading_is_told(fire: Any) -> None:
    event = fire(Hook(*[OSError("away")] * 99), invoked_at=time.time() - 10_000)

    assert event["outcome"] == "overdue"
    assert "OSError: away" in event["reason"]


def test_the_event_loop_is_not_held_up_by_a_read(monkeypatch: pytest.MonkeyPatch, shown: list[str]) -> None:
    """The loop runs on while a read takes long: here the read waits for the loop."""
    ticks: list[None] = []

    class SlowHook(Hook):
        def stream_reader(self, group: str, stream: str) -> Callable[[str | None], Any]:
            def read(token: str | None) -> tuple[list[dict[str, Any]], str | None]:
                deadline = time.monotonic() + 5
                while not ticks and time.monotonic() < deadline:
                    time.sleep(0.01)
                assert ticks, "nothing else ran while the stream was read"
                return [{"message": end(1), "timestamp": 1}], "token"

            return read

    async def run() -> list[TriggerEvent]:
        asyncio.get_running_loop().call_later(0.05, ticks.append, None)
        return [event async for event in make().run()]

    monkeypatch.setattr(lambda_function, "_shared_hook", lambda *_: SlowHook())
    (event,) = asyncio.run(run())
    assert event.payload["outcome"] == "complete"


def test_when_the_task_is_killed_it_looks_a_last_time_and_says_what_goes_on(
    monkeypatch: pytest.MonkeyPatch, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    hook = Hook([line(1, "one")])
    monkeypatch.setattr(lambda_function, "_shared_hook", lambda *_: hook)

    async def kill() -> None:
        trigger = make()
        running = asyncio.ensure_future(anext(aiter(trigger.run())))
        while not shown:
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        hook.parts = [[line(2, "two")]]
        await trigger.on_kill()

    asyncio.run(asyncio.wait_for(kill(), 5))

    assert shown == ["one", "two"]
    assert "f goes on to its end: an asynchronous invocation cannot be cancelled" in capsys.readouterr().out


def test_one_hook_serves_all_triggers_of_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    from custom.hooks.lambda_function import LambdaFunctionHook

    monkeypatch.setattr(LambdaFunctionHook, "logs_client", "a client")
    monkeypatch.setattr(lambda_function, "_hooks", {})

    first = lambda_function._shared_hook(None, "ap-southeast-2")

    assert lambda_function._shared_hook(None, "ap-southeast-2") is first
    assert lambda_function._shared_hook(None, "eu-central-1") is not first


def test_a_cold_start_has_its_time_whatever_the_start_timeout(fire: Any) -> None:
    assert fire(Hook(*[None] * 5, [end(1)]), start_timeout=0)["outcome"] == "complete"


def test_reads_that_fail_are_neither_quiet_nor_drained(fire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Throttled reading is not a sign of an end: what the own log says may come long before the lines."""
    monkeypatch.setattr(lambda_function, "QUIET_SECONDS", 0)
    monkeypatch.setattr(lambda_function, "UNLIKELY_DRAIN_SECONDS", 0)
    throttled = [OSError("throttled")] * 5
    hook = Hook(*throttled, [line(1, "one"), end(2)], own_log=OwnLog("own", ended=True))

    assert fire(hook)["outcome"] == "complete"
    assert hook.asked == []


def test_long_lines_are_shown_bit_by_bit(
    fire: Any, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once they would fill the way to the log, and the event loop would stand still."""
    rooms: list[int] = []

    async def room() -> None:
        rooms.append(len(shown))

    monkeypatch.setattr(trigger_log, "room", room)

    fire(Hook([*(line(number, "x" * 10_000) for number in range(1, 7)), end(7)]))

    assert rooms[:4] == [0, 2, 4, 6]


def test_what_was_read_while_it_was_killed_is_shown(
    monkeypatch: pytest.MonkeyPatch, shown: list[str]
) -> None:
    """The thread that reads goes on, though nobody waits for it any more."""
    reading, go_on = threading.Event(), threading.Event()

    class SlowHook(Hook):
        def stream_reader(self, group: str, stream: str) -> Callable[[str | None], Any]:
            read = super().stream_reader(group, stream)

            def slowly(token: str | None) -> tuple[list[dict[str, Any]], str | None]:
                reading.set()
                assert go_on.wait(5)
                answer: tuple[list[dict[str, Any]], str | None] = read(token)
                return answer

            return slowly

    monkeypatch.setattr(lambda_function, "_shared_hook", lambda *_: SlowHook([line(1, "one")]))

    async def kill() -> None:
        trigger = make()
        running = asyncio.ensure_future(anext(aiter(trigger.run())))
        while not reading.is_set():
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        go_on.set()
        await trigger.on_kill()

    asyncio.run(asyncio.wait_for(kill(), 5))

    assert shown == ["one"]
