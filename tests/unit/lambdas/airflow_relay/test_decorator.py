"""The decorated handler: what the function's caller gets, and what the stream gets."""

# ruff: noqa: T201 - what is printed is what these tests are about

import functools
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from airflow_relay import LogServiceFailed, contract, decorator, relay
from airflow_relay.shipper import LogEvent, Shipper
from tests.decoded import decode_lines

EVENT = contract.Destination("/airflow/lambda/f", "stream").as_payload()
ASYNCHRONOUS = contract.Destination("/airflow/lambda/f", "stream", asynchronous=True).as_payload()
CONTEXT = SimpleNamespace(aws_request_id="request-1", get_remaining_time_in_millis=lambda: 60_000)
logger = logging.getLogger("function")


class AlreadyExists(Exception):
    response: ClassVar[dict[str, Any]] = {"Error": {"Code": "ResourceAlreadyExistsException"}}


class AccessDenied(Exception):
    response: ClassVar[dict[str, Any]] = {"Error": {"Code": "AccessDeniedException"}}


class NotFound(Exception):
    response: ClassVar[dict[str, Any]] = {"Error": {"Code": "ResourceNotFoundException"}}


class FakeLogs:
    """CloudWatch Logs: streams by name, or an error on every call."""

    def __init__(self) -> None:
        self.streams: dict[str, list[str]] = {}
        self.error: Exception | None = None
        self.read_error: Exception | None = None
        self.arrived = threading.Event()

    def create_log_stream(self, logGroupName: str, logStreamName: str) -> None:
        if self.error:
            raise self.error
        if logStreamName in self.streams:
            raise AlreadyExists
        self.streams[logStreamName] = []

    def get_log_events(self, logGroupName: str, logStreamName: str, limit: int) -> dict[str, Any]:
        if self.read_error:
            raise self.read_error
        return {"events": self.streams[logStreamName][:limit]}

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
        functools.partial(Shipper, client=lambda: fake),
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


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({}, marks=pytest.mark.bad_input(30)),
        pytest.param({"n": 1, "stream_name": "not ours"}, marks=pytest.mark.bad_input(30)),
        pytest.param([], marks=pytest.mark.bad_input(31)),
        pytest.param("text", marks=pytest.mark.bad_input(31)),
        pytest.param(None, marks=pytest.mark.bad_input(31)),
    ],
    ids=repr,
)
def test_without_block_the_handler_just_runs(
    logs: FakeLogs, capsys: pytest.CaptureFixture[str], event: Any
) -> None:
    handlers_seen: list[logging.Handler] = []

    @relay
    def handler(event: Any, context: Any) -> Any:
        handlers_seen.extend(logging.root.handlers)
        print("own line")
        return event

    before = logging.root.handlers[:]
    assert handler(event, CONTEXT) is event
    assert handlers_seen == before
    assert logs.streams == {}
    assert capsys.readouterr() == ("own line\n", "")


@pytest.mark.bad_input(32)
@pytest.mark.parametrize(
    "change",
    [
        {"airflow_relay": "yes"},
        {"airflow_relay": {"version": "1"}},
        {"group_name": ["g"]},
        {"stream_name": 7},
        {"stream_name": "a:b"},
        {"stream_name": "s\nairflow_relay: [END #1] {}"},
    ],
    ids=repr,
)
def test_bad_block_is_one_warning_and_the_handler_runs(
    logs: FakeLogs, capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    assert relay(done)({**EVENT, **change}, CONTEXT) == "done"
    assert logs.streams == {}
    (warning,) = capsys.readouterr().err.splitlines()
    assert "ignored" in warning


@pytest.mark.parametrize(
    "raised",
    [
        pytest.param(ValueError("unlucky"), marks=pytest.mark.bad_input(33)),
        pytest.param(SystemExit(3), marks=pytest.mark.bad_input(34)),
        pytest.param(KeyboardInterrupt(), marks=pytest.mark.bad_input(34)),
    ],
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
    before, trace = decode_lines(messages)
    assert before == "before"
    assert trace.startswith("Traceback (most recent call last):\n")
    assert "in handler" in trace
    assert "airflow_relay" not in trace.replace("tests/unit/lambdas/airflow_relay", "")
    assert messages[1].startswith("[ERROR #2] ")
    assert end_of(messages).status == contract.FAILED
    assert type(raised).__name__ in end_of(messages).error


@pytest.mark.bad_input(30, 45)
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

    assert decode_lines(logs.streams["first"])[0] == "call first"
    assert decode_lines(logs.streams["second"]) == ["call second"]
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


@pytest.mark.bad_input(35)
def test_a_handler_that_says_nothing_has_an_end_marker(logs: FakeLogs) -> None:
    relay(done)(EVENT, CONTEXT)

    (message,) = logs.streams["stream"]
    assert contract.decode(message) == contract.EndMarker("succeeded", 0, request_id="request-1", number=1)


@pytest.mark.bad_input(41)
def test_a_traceback_in_mid_run_stays_in_its_place(logs: FakeLogs) -> None:
    @relay
    def handler(event: Any, context: Any) -> None:
        logger.info("before")
        try:
            raise KeyError("gone")
        except KeyError:
            logger.exception("caught")
        logger.info("after")

    handler(EVENT, CONTEXT)

    before, caught, after, _ = logs.streams["stream"]
    assert (before, after) == ("[INFO #1] before", "[INFO #3] after")
    assert caught.startswith("[ERROR #2] caught\nTraceback")
    assert caught.endswith("KeyError: 'gone'")


@pytest.mark.bad_input(46)
def test_lines_of_the_last_moments_do_not_wait(logs: FakeLogs) -> None:
    context = SimpleNamespace(aws_request_id="r", get_remaining_time_in_millis=lambda: 400)

    @relay(flush_seconds=60)
    def handler(event: Any, context: Any) -> bool:
        logger.info("last words")
        return logs.arrived.wait(5)

    assert handler(EVENT, context)


@pytest.mark.bad_input(47)
@pytest.mark.parametrize("context", [(), (None,)], ids=["none given", "none"])
def test_call_by_hand_without_context(logs: FakeLogs, context: tuple[None, ...]) -> None:
    assert relay(done)(EVENT, *context) == "done"
    assert end_of(logs.streams["stream"]).request_id == ""


@pytest.mark.bad_input(48)
def test_a_thread_that_outlives_the_call_is_noted_and_its_late_lines_are_dropped(
    logs: FakeLogs, capsys: pytest.CaptureFixture[str]
) -> None:
    spoken, returned = threading.Event(), threading.Event()

    def work() -> None:
        logger.info("in time")
        spoken.set()
        returned.wait(5)
        logger.info("too late")
        print("too late")

    worker = threading.Thread(target=work, name="worker")

    @relay
    def handler(event: Any, context: Any) -> None:
        worker.start()
        spoken.wait(5)

    handler(EVENT, CONTEXT)
    sent = logs.streams["stream"][:]
    returned.set()
    worker.join()

    in_time, note = decode_lines(sent)
    assert in_time == "in time"
    assert note.startswith(contract.NOTE_PREFIX)
    assert "run on after it: worker." in note
    assert sent[1].startswith("[WARNING #2] ")
    assert logs.streams["stream"] == sent
    output = capsys.readouterr()
    assert note in output.err
    assert "too late" in output.out


@pytest.mark.bad_input(48)
def test_threads_that_end_with_the_call_or_were_there_before_are_not_noted(logs: FakeLogs) -> None:
    released = threading.Event()
    older = threading.Thread(target=released.wait, args=(5,))
    older.start()

    @relay
    def handler(event: Any, context: Any) -> None:
        worker = threading.Thread(target=logger.info, args=("in time",))
        worker.start()
        worker.join()

    handler(EVENT, CONTEXT)
    released.set()
    older.join()

    assert decode_lines(logs.streams["stream"]) == ["in time"]


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


@pytest.mark.parametrize("flush_seconds", [0, -1, float("nan")])
def test_a_pause_of_nothing_is_refused(flush_seconds: float) -> None:
    with pytest.raises(ValueError, match="flush_seconds must be more than 0"):
        relay(flush_seconds=flush_seconds)


def returning(result: Any) -> Callable[[Any, Any], Any]:
    @relay
    def handler(event: Any, context: Any) -> Any:
        return result

    return handler


class TestAsynchronousCaller:
    def test_the_end_marker_carries_the_result(self, logs: FakeLogs) -> None:
        handler = returning({"n": Decimal("1.5"), "t": (1, 2)})

        handler(ASYNCHRONOUS, CONTEXT)

        end = end_of(logs.streams["stream"])
        assert (end.status, end.result) == ("succeeded", {"n": 1.5, "t": [1, 2]})
        assert end.result_bytes == len('{"n": 1.5, "t": [1, 2]}')

    def test_for_another_caller_it_does_not(self, logs: FakeLogs) -> None:
        returning("secret")(EVENT, CONTEXT)

        assert "secret" not in str(logs.streams)

    def test_the_own_log_goes_without_the_result(
        self, logs: FakeLogs, capsys: pytest.CaptureFixture[str]
    ) -> None:
        returning("secret")(ASYNCHRONOUS, CONTEXT)

        assert "secret" in logs.streams["stream"][-1]
        assert "secret" not in capsys.readouterr().out

    def test_a_result_over_the_limit_is_left_out_but_counted(self, logs: FakeLogs) -> None:
        returning("x" * 200_000)(ASYNCHRONOUS, CONTEXT)

        end = end_of(logs.streams["stream"])
        assert (end.result, end.result_bytes) == (None, 200_002)

    def test_a_result_that_lambda_will_refuse_is_a_failure(self, logs: FakeLogs) -> None:
        result = {1, 2}
        handler = returning(result)

        assert handler(ASYNCHRONOUS, CONTEXT) is result, "that is Lambda's to refuse"
        end = end_of(logs.streams["stream"])
        assert end.status == "failed"
        assert end.error.startswith("Runtime.MarshalError: the result is not JSON")

    def test_an_event_delivered_again_does_not_run_the_handler_again(
        self, logs: FakeLogs, capsys: pytest.CaptureFixture[str]
    ) -> None:
        runs: list[int] = []

        @relay
        def handler(event: Any, context: Any) -> None:
            runs.append(1)

        handler(ASYNCHRONOUS, CONTEXT)
        first = list(logs.streams["stream"])

        assert handler(ASYNCHRONOUS, CONTEXT) is None

        assert runs == [1]
        assert logs.streams["stream"] == first
        assert "has delivered this event before" in capsys.readouterr().err

    def test_a_caller_that_waits_may_write_into_a_stream_that_is_there(self, logs: FakeLogs) -> None:
        """Nothing is delivered twice then, and a stream may have been made by hand."""
        logs.streams["stream"] = []

        assert relay(done)(EVENT, CONTEXT) == "done"

    def test_a_log_service_that_is_down_does_not_keep_the_handler_from_running(self, logs: FakeLogs) -> None:
        logs.error = ConnectionError("down")

        assert relay(done)(ASYNCHRONOUS, SimpleNamespace(get_remaining_time_in_millis=lambda: 300)) == "done"


@pytest.mark.parametrize("event", [EVENT, ASYNCHRONOUS], ids=["waiting", "asynchronous"])
def test_a_decorated_handler_that_calls_another_one_with_its_event(logs: FakeLogs, event: Any) -> None:
    """One stream, one claim, one end marker: those of the outer call."""

    @relay
    def inner(event: Any, context: Any) -> str:
        logger.info("inner")
        return "done"

    @relay
    def outer(event: Any, context: Any) -> Any:
        logger.info("outer")
        return inner(event, context)

    assert outer(event, CONTEXT) == "done"
    assert logs.streams["stream"][:2] == ["[INFO #1] outer", "[INFO #2] inner"]
    assert len(logs.streams["stream"]) == 3


def saying(event: Any, context: Any) -> str:
    logger.info("line")
    return "done"


ours = relay(saying)


@pytest.fixture
def deploy(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Make an object the handler that Lambda calls."""

    def deploy(handler: Any) -> Any:
        monkeypatch.setenv("_HANDLER", "src/function.handler")
        monkeypatch.setitem(sys.modules, "src.function", SimpleNamespace(handler=handler))
        return handler

    return deploy


def making_the_stream(handler: Any, logs: FakeLogs) -> Any:
    """Decorate as the published recipe does: make the stream, write to it at the end."""

    @functools.wraps(handler)
    def wrapper(event: Any, context: Any) -> Any:
        logs.streams["stream"] = []
        result = handler(event, context)
        logs.streams["stream"].append("INFO End Request")
        return result

    return wrapper


class TestAnotherDecorator:
    @pytest.mark.bad_input(51)
    def test_around_ours_a_caller_that_does_not_wait_has_the_handler_run(
        self, logs: FakeLogs, deploy: Callable[[Any], Any]
    ) -> None:
        handler = deploy(making_the_stream(ours, logs))

        assert handler(ASYNCHRONOUS, CONTEXT) == "done"

        first, second, *_ = logs.streams["stream"]
        assert first.startswith("[WARNING #1] @relay is not the outermost decorator")
        assert second == "[INFO #2] line"

    @pytest.mark.parametrize("read_error", [None, AccessDenied()], ids=["events", "unreadable"])
    def test_around_ours_an_event_delivered_again_is_still_recognised(
        self,
        logs: FakeLogs,
        deploy: Callable[[Any], Any],
        read_error: Exception | None,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """If the decorator makes no stream, what is there is of an earlier delivery."""
        handler = deploy(lambda event, context: ours(event, context))
        handler(ASYNCHRONOUS, CONTEXT)
        logs.read_error = read_error

        assert handler(ASYNCHRONOUS, CONTEXT) is None
        assert ("has to be allowed" in capsys.readouterr().err) is (read_error is not None)

    def test_ours_alone_does_not_look_into_the_stream(
        self, logs: FakeLogs, deploy: Callable[[Any], Any]
    ) -> None:
        """It may still be empty while another delivery runs."""
        handler = deploy(ours)
        logs.streams["stream"] = []

        assert handler(ASYNCHRONOUS, CONTEXT) is None

    def test_inside_ours_makes_the_stream_first(self, logs: FakeLogs) -> None:
        """The recipe's decorator gives up if somebody else is quicker."""
        seen: list[bool] = []

        @relay(flush_seconds=0.01)
        @functools.wraps(done)
        def handler(event: Any, context: Any) -> None:
            time.sleep(0.1)
            seen.append("stream" in logs.streams)
            logger.info("line")

        handler(EVENT, CONTEXT)

        assert seen == [False]
        assert logs.streams["stream"][0] == "[INFO #1] line"


class TestCallerWithoutBlock:
    """As the published recipe's operator."""

    EVENT: ClassVar[dict[str, Any]] = {"group_name": "/airflow/lambda/f", "stream_name": "stream"}

    @pytest.mark.bad_input(49)
    def test_it_gets_the_lines_and_no_end_marker(
        self, logs: FakeLogs, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert ours(self.EVENT, CONTEXT) == "done"

        assert logs.streams["stream"] == ["[INFO #1] line", "[INFO #2] The handler has returned"]
        assert "END" not in "".join(capsys.readouterr())

    def test_it_sees_a_failure_in_the_last_event(self, logs: FakeLogs) -> None:
        @relay
        def handler(event: Any, context: Any) -> None:
            raise LookupError("unlucky")

        with pytest.raises(LookupError):
            handler(self.EVENT, CONTEXT)
        assert logs.streams["stream"][-1].startswith("[ERROR #1] Traceback")

    @pytest.mark.bad_input(49)
    def test_a_group_that_is_missing_is_not_made_and_not_waited_for(
        self, logs: FakeLogs, capsys: pytest.CaptureFixture[str]
    ) -> None:
        logs.error = NotFound()

        begun = time.monotonic()
        assert ours(self.EVENT, CONTEXT) == "done"
        assert time.monotonic() - begun < 2
        assert "2 of 2 log events are not in CloudWatch" in capsys.readouterr().err

    @pytest.mark.parametrize("where", ["around", "inside"])
    def test_it_gets_the_lines_of_one_decorator(
        self,
        logs: FakeLogs,
        deploy: Callable[[Any], Any],
        where: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        if where == "around":
            handler = deploy(making_the_stream(relay(saying), logs))
        else:
            handler = deploy(relay(making_the_stream(saying, logs)))

        assert handler(self.EVENT, CONTEXT) == "done"
        assert logs.streams["stream"] == ["INFO End Request"]
        note = capsys.readouterr().err
        assert "another decorator has made the log stream" in note
        assert "not in CloudWatch" not in note

    def test_what_is_said_after_the_stream_was_left_to_others_counts_for_nothing(
        self, logs: FakeLogs, deploy: Callable[[Any], Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        def handler(event: Any, context: Any) -> None:
            logger.info("first")
            for thread in threading.enumerate():
                if thread.name == "airflow-relay":
                    thread.join(5)
            logger.info("second")

        deploy(making_the_stream(relay(flush_seconds=0.01)(handler), logs))(self.EVENT, CONTEXT)

        assert logs.streams["stream"] == ["INFO End Request"]
        assert "not in CloudWatch" not in capsys.readouterr().err

    def test_a_stream_that_was_made_before_is_written_without_another_decorator(
        self, logs: FakeLogs, deploy: Callable[[Any], Any]
    ) -> None:
        logs.streams["stream"] = []

        deploy(ours)(self.EVENT, CONTEXT)

        assert logs.streams["stream"][0] == "[INFO #1] line"
