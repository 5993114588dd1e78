"""The decorated handler: what the function's caller gets, and what the stream gets."""

# ruff: noqa: T201 - what is printed is what these tests are about

import logging
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_relay import LogServiceFailed, contract, decorator, relay
from airflow_relay.shipper import LogEvent, Shipper

EVENT = contract.Destination("/airflow/lambda/f", "stream").as_payload()
CONTEXT = SimpleNamespace(aws_request_id="request-1", get_remaining_time_in_millis=lambda: 60_000)
logger = logging.getLogger("function")


class FakeLogs:
    """CloudWatch Logs: streams by name, or an error on every call."""

    def __init__(self) -> None:
        self.streams: dict[str, list[str]] = {}
        self.error: Exception | None = None
        self.arrived = threading.Event()

    def create_log_stream(self, logGroupName: str, logStreamName: str) -> None:
        if self.error:
            raise self.error
        self.streams[logStreamName] = []

    def put_log_events(
        self, logGroupName: str, logStreamName: str, logEvents: list[LogEvent]
    ) -> dict[str, Any]:
        if self.error:
            raise self.error
        self.streams[logStreamName] += [event["message"] for event in logEvents]
        self.arrived.set()
        return {}


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLogs]:
    fake = FakeLogs()
    monkeypatch.setattr(
        decorator,
        "Shipper",
        lambda destination, remaining, seconds: Shipper(destination, remaining, seconds, client=lambda: fake),
    )
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    yield fake
    root.setLevel(level)


def done(event: Any, context: Any = None) -> str:
    return "done"


def end_of(messages: list[str]) -> contract.EndMarker:
    marker = contract.decode(messages[-1])
    assert isinstance(marker, contract.EndMarker)
    return marker


def test_lines_result_and_end(logs: FakeLogs) -> None:
    @relay
    def handler(event: Any, context: Any) -> dict[str, int]:
        logger.info("logged")
        print("printed")
        return {"n": event["n"]}

    assert handler({"n": 7, **EVENT}, CONTEXT) == {"n": 7}
    messages = logs.streams["stream"]
    assert messages[:-1] == ["[INFO #1] logged", "[INFO #2] printed"]
    assert end_of(messages) == contract.EndMarker("succeeded", 2, request_id="request-1", number=3)


def test_lines_are_readable_while_the_handler_runs(logs: FakeLogs) -> None:
    @relay(flush_seconds=0.01)
    def handler(event: Any, context: Any) -> bool:
        logger.info("under way")
        return logs.arrived.wait(5)

    assert handler(EVENT, CONTEXT)


@pytest.mark.parametrize("event", [None, [], "text", {}, {"n": 1}], ids=repr)
def test_without_block_the_handler_just_runs(
    logs: FakeLogs, capsys: pytest.CaptureFixture[str], event: Any
) -> None:
    handlers_seen: list[logging.Handler] = []

    @relay
    def handler(event: Any, context: Any) -> Any:
        handlers_seen.extend(logging.root.handlers)
        return event

    before = logging.root.handlers[:]
    assert handler(event, CONTEXT) is event
    assert handlers_seen == before
    assert logs.streams == {}
    assert capsys.readouterr() == ("", "")


def test_bad_block_is_one_warning_and_the_handler_runs(
    logs: FakeLogs, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = relay(done)

    assert handler({**EVENT, "stream_name": "a:b"}, CONTEXT) == "done"
    assert logs.streams == {}
    assert capsys.readouterr().err.count("ignored") == 1


@pytest.mark.parametrize(
    "raised",
    [ValueError("unlucky"), SystemExit(3), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
def test_what_the_handler_raises_is_sent_and_raised_again(logs: FakeLogs, raised: BaseException) -> None:
    @relay
    def handler(event: Any, context: Any) -> None:
        logger.info("before")
        raise raised

    with pytest.raises(type(raised)) as caught:
        handler(EVENT, CONTEXT)

    assert caught.value is raised
    messages = logs.streams["stream"]
    before, trace = contract.decode_lines(messages)
    assert before == "before"
    assert trace.startswith("Traceback (most recent call last):\n")
    assert "in handler" in trace
    assert "airflow_relay" not in trace.replace("tests/unit/lambdas/airflow_relay", "")
    assert messages[1].startswith("[ERROR #2] ")
    assert end_of(messages).status == contract.FAILED
    assert type(raised).__name__ in end_of(messages).error


def test_warm_calls_never_mix(logs: FakeLogs) -> None:
    @relay
    def handler(event: Any, context: Any) -> None:
        logger.info("call %s", event["stream_name"])
        if event["stream_name"] == "first":
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        handler({**EVENT, "stream_name": "first"}, CONTEXT)
    handler({"no": "block"} | {"stream_name": "between"}, CONTEXT)
    handler({**EVENT, "stream_name": "second"}, CONTEXT)

    assert contract.decode_lines(logs.streams["first"])[0] == "call first"
    assert contract.decode_lines(logs.streams["second"]) == ["call second"]
    assert set(logs.streams) == {"first", "second"}
    assert not any(thread.name == "airflow-relay" for thread in threading.enumerate())


def test_a_failing_log_service_changes_nothing_but_says_so(
    logs: FakeLogs, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.error = ConnectionError("down")
    context = SimpleNamespace(aws_request_id="r", get_remaining_time_in_millis=lambda: 300)

    @relay
    def handler(event: Any, context: Any) -> str:
        print("hello")
        return "done"

    assert handler(EVENT, context) == "done"
    output = capsys.readouterr()
    assert "hello" in output.out
    assert "1 of 1 log events are not in CloudWatch" in output.err
    assert "ConnectionError: down" in output.err


def test_a_failing_log_service_fails_a_strict_function(logs: FakeLogs) -> None:
    logs.error = ConnectionError("down")
    context = SimpleNamespace(aws_request_id="r", get_remaining_time_in_millis=lambda: 300)

    with pytest.raises(LogServiceFailed, match="ConnectionError: down"):
        relay(strict=True)(done)(EVENT, context)


def test_a_strict_function_that_raises_keeps_its_own_error(logs: FakeLogs) -> None:
    logs.error = ConnectionError("down")
    context = SimpleNamespace(aws_request_id="r", get_remaining_time_in_millis=lambda: 300)

    @relay(strict=True)
    def handler(event: Any, context: Any) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        handler(EVENT, context)


def test_a_strict_function_whose_log_arrives_succeeds() -> None:
    assert relay(strict=True)(done)(EVENT, CONTEXT) == "done"


def test_end_marker_is_repeated_in_the_functions_own_log(
    logs: FakeLogs, capsys: pytest.CaptureFixture[str]
) -> None:
    relay(done)(EVENT, CONTEXT)

    assert contract.find_end(capsys.readouterr().out) == end_of(logs.streams["stream"])


def test_call_by_hand_without_context(logs: FakeLogs) -> None:
    assert relay(done)(EVENT) == "done"
    assert end_of(logs.streams["stream"]).request_id == ""


def test_handler_keeps_its_name_and_docstring() -> None:
    @relay
    def handler(event: Any, context: Any) -> None:
        """What it does."""

    assert (handler.__name__, handler.__doc__) == ("handler", "What it does.")


def test_importing_the_library_does_not_import_boto3() -> None:
    import subprocess
    import sys

    code = f"import sys; sys.path[:0] = {sys.path!r}; import airflow_relay; print('botocore' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
