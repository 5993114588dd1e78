"""The operator: what it asks of its hook, what it shows, and how it judges."""

import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard

from airflow_relay import contract
from airflow_relay.contract import EndMarker
from custom import errors
from custom.arguments import check_arguments
from custom.hooks.lambda_function import Answer, FunctionSettings, OwnLog
from custom.operators import lambda_function
from custom.operators.lambda_function import LambdaOperator
from custom.relay.writing import Line

FAILURE = json.dumps(
    {
        "errorMessage": "unlucky",
        "errorType": "ValueError",
        "requestId": "r",
        "stackTrace": ['  File "f.py"\n'],
    }
).encode()


READS_BEFORE_LATE_EVENTS = 3


class Hook:
    """A function and its log stream.

    Events appear in the stream while it runs (``during``), when it returns (``after``) or some looks at the
    stream later (``late``).
    """

    def __init__(self) -> None:
        self.answer: Answer | Exception = Answer(b'{"lines": 3}')
        self.during: list[str] = []
        self.after = [end(1)]
        self.stream_exists = True
        self.calls: list[dict[str, Any]] = []
        self.streams: list[tuple[str, str]] = []
        self.shown = threading.Event()
        self.endless = self.throttled = self.done = False
        self.released = threading.Event()
        self.on_throttled: Callable[[], None] = lambda: None
        self.late: list[str] = []
        self.own: OwnLog | Exception = OwnLog("own stream", ended=True)
        meta = {"region_name": "r", "partition": "aws", "endpoint_url": "http://localstack:4566"}
        self.lambda_client = self.logs_client = SimpleNamespace(meta=SimpleNamespace(**meta))
        self.settings = FunctionSettings(42, "/aws/lambda/f")
        self._read = 0
        self._reads = 0

    def function_settings(self, function_name: str, qualifier: str | None) -> FunctionSettings:
        return self.settings

    def own_log(self, log_group: str, request_id: str, since: float) -> OwnLog:
        if isinstance(self.own, Exception):
            raise self.own
        return self.own

    def no_answer(self, function_name: str, qualifier: str | None) -> errors.LambdaError:
        return errors.LambdaTimedOut("no answer")

    def invoke_once(
        self,
        function_name: str,
        qualifier: str | None,
        payload: bytes,
        *,
        start_timeout: float,
        pause: Any,
        on_request: Any,
    ) -> Answer:
        on_request()
        self.calls.append(
            {
                "name": function_name,
                "qualifier": qualifier,
                "payload": json.loads(payload),
                "start_timeout": start_timeout,
            }
        )
        if self.during:
            assert self.shown.wait(5), "the lines of a running function are not read while it runs"
        if self.endless:
            self.released.wait(5)
        if self.throttled:
            threading.Timer(0.1, self.on_throttled).start()
            pause(30)
        if isinstance(self.answer, Exception):
            raise self.answer
        self.during += self.after
        self.done = True
        return self.answer

    def stream_reader(self, group: str, stream: str) -> Callable[[str | None], Any]:
        self.streams.append((group, stream))

        def read(token: str | None) -> tuple[list[dict[str, Any]], str | None]:
            self._reads += 1
            if self._reads > READS_BEFORE_LATE_EVENTS:
                self.during += self.late
                self.late = []
            fresh = self.during[self._read :]
            self._read += len(fresh)
            if fresh:
                self.shown.set()
            events = [{"message": message, "timestamp": 1000 + self._read} for message in fresh]
            return events, "token" if self.stream_exists else None

        return read


@pytest.fixture(autouse=True)
def _outside_of_the_task_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.released.set()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """What goes into the task log as lines of the function."""
    lines: list[tuple[int, str]] = []

    def task_log_writer(name: str) -> Callable[[Line], None]:
        assert name == "f"
        return lambda line: lines.append((line.level, line.text))

    monkeypatch.setattr(lambda_function, "task_log_writer", task_log_writer)
    return lines


@pytest.fixture
def run(hook: Hook, shown: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(lambda_function, "UNLIKELY_DRAIN_SECONDS", 0.05)

    def run(ti: dict[str, Any] | None = None, conf: dict[str, Any] | None = None, **arguments: Any) -> Any:
        operator = make(**arguments)
        operator.__dict__["hook"] = hook
        context = {"ti": task_instance(**(ti or {})), "dag_run": SimpleNamespace(conf=conf)}
        return operator.execute(context)  # type: ignore[arg-type]

    return run


def make(**arguments: Any) -> LambdaOperator:
    defaults: dict[str, Any] = {
        "task_id": "t", "function_name": "f", "awslogs_group": "/g", "aws_conn_id": None,
        "poll_seconds": 0.05, "drain_seconds": 0.2,
    }  # fmt: skip
    return LambdaOperator(**{**defaults, **arguments})


def task_instance(**more: Any) -> SimpleNamespace:
    return SimpleNamespace(
        **{"dag_id": "d", "run_id": "manual__2025-11-20T00:00:00+00:00", "task_id": "t", "map_index": -1,
           "try_number": 1, **more}
    )  # fmt: skip


def rendered(payload: str, **context: Any) -> Any:
    """What Airflow makes of a template before the operator runs."""
    operator = make(payload=payload)
    operator.render_template_fields(context)  # type: ignore[arg-type]
    return operator.payload


def end(number: int, status: str = "succeeded", **more: Any) -> str:
    return contract.encode_end(EndMarker(status, number - 1, number=number, **more))


def tail(message: str) -> str:
    return f"START\n{contract.NOTE_PREFIX}{message}\nEND"


class TestRequest:
    def test_function_is_invoked_once_with_payload_and_contract(
        self, run: Callable[..., Any], hook: Hook
    ) -> None:
        assert run(payload={"max_len": 3}) == {"lines": 3}

        (call,) = hook.calls
        ((group, stream),) = hook.streams
        assert (call["name"], call["qualifier"], call["start_timeout"]) == ("f", "$LATEST", 60)
        assert call["payload"]["max_len"] == 3
        assert contract.Destination.from_event(call["payload"]) == contract.Destination(
            group, stream, "d/manual__2025-11-20T00%3A00%3A00%2B00%3A00/t/-1/1".replace("%2B", "+")
        )

    @pytest.mark.bad_input(17, 18)
    def test_stream_name_tells_the_try(self, run: Callable[..., Any], hook: Hook) -> None:
        run({"map_index": 4, "try_number": 2}, qualifier="live")

        name = hook.streams[0][1]
        assert contract.check_stream_name(name)
        _, _, _, front, run_id, task, map_index, try_number, unique = name.split("/")
        assert (front, unquote(run_id), task, map_index, try_number) == (
            "[live]d", "manual__2025-11-20T00:00:00+00:00", "t", "4", "2",
        )  # fmt: skip
        assert len(unique) == 32

    @pytest.mark.bad_input(18)
    def test_each_try_each_mapped_task_and_each_execution_has_its_own_stream(
        self, run: Callable[..., Any], hook: Hook
    ) -> None:
        for ti in ({}, {}, {"try_number": 2}, {"map_index": 0}, {"map_index": 1}):
            run(ti)

        assert len({stream for _, stream in hook.streams}) == 5
        keys = [call["payload"]["airflow_relay"]["idempotency_key"] for call in hook.calls]
        assert len(set(keys)) == 4
        assert keys[0] == keys[1]

    @pytest.mark.bad_input(14)
    def test_payload_may_be_a_template_of_text(self, run: Callable[..., Any], hook: Hook) -> None:
        run(payload=rendered("{{ question | tojson }}", question={"max_len": 2, "why": "d'accord"}))

        sent = hook.calls[0]["payload"]
        assert (sent["max_len"], sent["why"]) == (2, "d'accord")

    @pytest.mark.bad_input(14)
    def test_template_that_renders_to_no_json_is_refused(self, run: Callable[..., Any], hook: Hook) -> None:
        with pytest.raises(errors.PayloadRefused, match=r"line 1, column 2.*tojson"):
            run(payload=rendered("{{ question }}", question={"max_len": 2}))
        assert hook.calls == []

    @pytest.mark.bad_input(5)
    @pytest.mark.parametrize("qualifier", [None, ""])
    def test_no_qualifier(self, run: Callable[..., Any], hook: Hook, qualifier: str | None) -> None:
        run(qualifier=qualifier)

        assert not hook.calls[0]["qualifier"]
        assert "/[$LATEST]d/" in hook.streams[0][1]

    def test_values_of_the_payload_are_not_logged(
        self, run: Callable[..., Any], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        caplog.set_level(logging.DEBUG)
        run(payload={"password": "hunter2"})

        output = caplog.text + "".join(capfd.readouterr())
        assert "password" in output
        assert "hunter2" not in output

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            pytest.param({"function_name": ""}, "function_name", marks=pytest.mark.bad_input(1)),
            pytest.param({"function_name": None}, "function_name", marks=pytest.mark.bad_input(2)),
            pytest.param({"function_name": "f" * 65}, "function_name", marks=pytest.mark.bad_input(3)),
            pytest.param({"function_name": "two words"}, "function_name", marks=pytest.mark.bad_input(3)),
            pytest.param({"function_name": "a/b"}, "function_name", marks=pytest.mark.bad_input(3)),
            ({"function_name": "f:live"}, "function_name"),
            ({"qualifier": "no pe"}, "qualifier"),
            ({"qualifier": "q" * 129}, "qualifier"),
            ({"awslogs_group": ""}, "awslogs_group"),
            pytest.param({"awslogs_group": "a b"}, "awslogs_group", marks=pytest.mark.bad_input(15)),
            pytest.param({"awslogs_group": "a:b"}, "awslogs_group", marks=pytest.mark.bad_input(15)),
            pytest.param({"awslogs_group": "g" * 513}, "awslogs_group", marks=pytest.mark.bad_input(15)),
            pytest.param({"awslogs_group": "aws/g"}, "awslogs_group", marks=pytest.mark.bad_input(16)),
            pytest.param({"poll_seconds": 0}, "poll_seconds", marks=pytest.mark.bad_input(21)),
            pytest.param({"poll_seconds": -1}, "poll_seconds", marks=pytest.mark.bad_input(21)),
            pytest.param({"poll_seconds": 901}, "poll_seconds", marks=pytest.mark.bad_input(21)),
            pytest.param({"poll_seconds": float("nan")}, "poll_seconds", marks=pytest.mark.bad_input(21)),
            pytest.param({"max_result_bytes": None}, "max_result_bytes", marks=pytest.mark.bad_input(24)),
            pytest.param({"max_result_bytes": "long"}, "max_result_bytes", marks=pytest.mark.bad_input(24)),
            pytest.param({"start_timeout": -1}, "start_timeout", marks=pytest.mark.bad_input(21)),
            pytest.param({"start_timeout": 901}, "start_timeout", marks=pytest.mark.bad_input(21)),
            pytest.param({"start_timeout": None}, "start_timeout", marks=pytest.mark.bad_input(21)),
            pytest.param({"drain_seconds": -1}, "drain_seconds", marks=pytest.mark.bad_input(21)),
            pytest.param({"drain_seconds": 901}, "drain_seconds", marks=pytest.mark.bad_input(21)),
            pytest.param({"drain_seconds": float("inf")}, "drain_seconds", marks=pytest.mark.bad_input(21)),
            pytest.param({"drain_seconds": "long"}, "drain_seconds", marks=pytest.mark.bad_input(21)),
            pytest.param({"deferrable": "no"}, "deferrable", marks=pytest.mark.bad_input(20)),
            pytest.param({"deferrable": None}, "deferrable", marks=pytest.mark.bad_input(20)),
            pytest.param({"payload": "not json"}, "line 1, column 1", marks=pytest.mark.bad_input(7)),
            pytest.param({"payload": {"stream_name": "s"}}, "stream_name", marks=pytest.mark.bad_input(11)),
            pytest.param({"payload": {"x": "x" * 6_291_456}}, "6,291,456", marks=pytest.mark.bad_input(12)),
        ],
        ids=lambda value: f"{value!r:.50}",
    )
    def test_bad_argument_is_refused_by_name_before_anything_is_sent(
        self, run: Callable[..., Any], hook: Hook, arguments: dict[str, Any], named: str
    ) -> None:
        with pytest.raises(errors.InvalidRequest, match=named):
            run(**arguments)
        assert hook.calls == []
        assert hook.streams == []

    @pytest.mark.bad_input(11)
    def test_conf_of_a_run_cannot_set_reserved_keys(self, run: Callable[..., Any], hook: Hook) -> None:
        with pytest.raises(errors.PayloadRefused, match="stream_name"):
            run(conf={"stream_name": "mine"}, conf_overrides=True)
        assert hook.calls == []

    @pytest.mark.parametrize(
        "name",
        ["f", "airflow-test_1", "x" * 64, "arn:aws:lambda:ap-southeast-2:123456789012:function:f",
         "arn:aws-cn:lambda:cn-north-1:123456789012:function:f", "123456789012:function:f"],
    )  # fmt: skip
    def test_names_and_arns_are_taken(self, hook: Hook, name: str) -> None:
        check_arguments(make(function_name=name))

    @pytest.mark.parametrize(
        "unknown",
        [
            pytest.param({"invocation_type": "Event"}, marks=pytest.mark.bad_input(19)),
            pytest.param({"invocation_type": "Requestresponse"}, marks=pytest.mark.bad_input(20)),
            {"log_type": "None"},
        ],
        ids=repr,
    )
    def test_unknown_argument_is_refused_when_the_dag_is_parsed(self, unknown: dict[str, Any]) -> None:
        with pytest.raises(TypeError, match=next(iter(unknown))):
            make(**unknown)


class TestRelay:
    @pytest.mark.bad_input(26)
    def test_lines_are_shown_while_the_function_runs(
        self, run: Callable[..., Any], hook: Hook, shown: list[tuple[int, str]]
    ) -> None:
        hook.during = ["[INFO #1] one", "[ERROR #2] ERROR, but no failure"]
        hook.after = ["[INFO #3] three", end(4)]
        hook.answer = Answer(b"1", log_tail=tail(end(4)))

        assert run() == 1
        assert shown == [
            (logging.INFO, "one"),
            (logging.ERROR, "ERROR, but no failure"),
            (logging.INFO, "three"),
        ]

    def test_late_events_are_awaited(
        self, run: Callable[..., Any], hook: Hook, shown: list[tuple[int, str]]
    ) -> None:
        hook.answer = Answer(b"1", log_tail=tail(end(2)))
        hook.after = []
        hook.late = ["[INFO #1] late", end(2)]
        run(drain_seconds=5)

        assert shown == [(logging.INFO, "late")]

    def test_tail_of_a_function_without_the_library_is_shown(
        self,
        run: Callable[..., Any],
        hook: Hook,
        shown: list[tuple[int, str]],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        hook.stream_exists = False
        hook.after = []
        hook.answer = Answer(b"1", log_tail="START\nhello\nEND")

        assert run(drain_seconds=900, fail_on_incomplete_relay=False) == 1
        assert [text for _, text in shown] == ["START", "hello", "END"]

    def test_missing_lines_are_a_warning(
        self, run: Callable[..., Any], hook: Hook, warned: Callable[[], str]
    ) -> None:
        hook.after = ["[INFO #1] one", end(5)]

        assert run() == {"lines": 3}
        assert "3 log events are missing" in warned()
        assert "/aws/lambda/f" in warned()

    def test_missing_end_marker_is_a_warning(
        self, run: Callable[..., Any], hook: Hook, warned: Callable[[], str]
    ) -> None:
        hook.after = ["[INFO #1] one"]

        assert run() == {"lines": 3}
        assert "no end marker" in warned()

    @pytest.mark.bad_input(50)
    def test_a_stream_that_others_write_is_shown_and_no_end_marker_awaited(
        self, run: Callable[..., Any], hook: Hook, shown: list[tuple[int, str]], warned: Callable[[], str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr("custom.relay.following.QUIET_SECONDS", 0.1)
        hook.after = ["INFO root Start Request", "INFO root End Request"]

        begun = time.monotonic()
        assert run(drain_seconds=60) == {"lines": 3}
        assert time.monotonic() - begun < 5
        assert [text for _, text in shown] == hook.after
        assert warned() == ""

    def test_a_stream_of_others_that_ends_with_an_error_is_a_warning(
        self, run: Callable[..., Any], hook: Hook, warned: Callable[[], str]
    ) -> None:
        hook.answer = Answer(b'"unlucky"')
        hook.after = [
            "INFO root Start",
            "ERROR root Traceback (most recent call last):",
            "ValueError: unlucky",
        ]

        assert run() == "unlucky"
        assert "f succeeded as Lambda sees it, but" in warned()
        assert "ERROR root Traceback" in warned()

    def test_a_failure_needs_no_such_warning(
        self, run: Callable[..., Any], hook: Hook, warned: Callable[[], str]
    ) -> None:
        hook.answer = Answer(FAILURE, "Unhandled")
        hook.after = ["ERROR root unlucky"]

        with pytest.raises(errors.LambdaFunctionFailed):
            run()
        assert "last lines" not in warned()

    def test_whether_a_stream_of_others_is_complete_is_unknown(
        self, run: Callable[..., Any], hook: Hook
    ) -> None:
        hook.after = ["INFO root Start"]

        with pytest.raises(errors.RelayIncomplete, match=r"others than @airflow_relay\.relay write"):
            run(fail_on_incomplete_relay=True)

    @pytest.mark.bad_input(51)
    def test_lines_that_two_decorators_wrote_are_a_warning(
        self, run: Callable[..., Any], hook: Hook, shown: list[tuple[int, str]], warned: Callable[[], str]
    ) -> None:
        hook.after = ["INFO root one", "[INFO #1] one", end(2)]

        run()
        assert [text for _, text in shown] == ["INFO root one"]
        assert "in the log stream twice, 1 of them" in warned()

    def test_log_service_that_took_nothing_is_a_warning_and_the_tail_is_shown(
        self, run: Callable[..., Any], hook: Hook, shown: list[tuple[int, str]], warned: Callable[[], str]
    ) -> None:
        hook.stream_exists = False
        hook.after = []
        hook.answer = Answer(b"1", log_tail=tail(end(4, lost=3)))

        assert run() == 1
        assert "3 never sent" in warned()
        assert (logging.INFO, "START") in shown

    @pytest.mark.bad_input(44)
    def test_events_with_a_time_that_was_changed_or_refused_are_counted_in_a_warning(
        self, run: Callable[..., Any], hook: Hook, warned: Callable[[], str]
    ) -> None:
        hook.after = ["[INFO #1] one", end(4, rejected=2, clamped=7)]

        assert run() == {"lines": 3}
        assert "2 log events are missing (2 refused by CloudWatch, 0 never sent)" in warned()
        assert "7 lines carried a time outside of the call" in warned()

    @pytest.mark.parametrize("after", [["[INFO #1] one"], ["[INFO #1] one", end(3)]], ids=["no end", "a gap"])
    def test_incomplete_relay_fails_the_task_if_asked(
        self, run: Callable[..., Any], hook: Hook, after: list[str]
    ) -> None:
        hook.after = after

        with pytest.raises(errors.RelayIncomplete, match="f succeeded, but"):
            run(fail_on_incomplete_relay=True)

    def test_complete_relay_warns_of_nothing(
        self, run: Callable[..., Any], hook: Hook, warned: Callable[[], str]
    ) -> None:
        hook.after = ["[INFO #1] one", end(2)]
        run(fail_on_incomplete_relay=True)

        assert warned() == ""


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Return what the operator itself warned of."""
    warnings: list[str] = []
    log = SimpleNamespace(
        info=lambda *_: None, warning=lambda message, *arguments: warnings.append(message % arguments)
    )
    monkeypatch.setattr(LambdaOperator, "log", log)
    return lambda: "\n".join(warnings)


class TestJudgement:
    def test_function_that_raised_fails_the_task(
        self, run: Callable[..., Any], hook: Hook, shown: list[tuple[int, str]]
    ) -> None:
        trace = "Traceback (most recent call last):\n  File f.py\nValueError: unlucky"
        hook.after = ["[INFO #1] one", f"[ERROR #2] {trace}", end(3, "failed", error="ValueError: unlucky")]
        hook.answer = Answer(FAILURE, "Unhandled", tail(end(3, "failed")), "request-1")

        with pytest.raises(errors.LambdaFunctionFailed, match=r"f failed: ValueError: unlucky .*request-1"):
            run()
        assert shown[-1] == (logging.ERROR, trace)
        assert len(shown) == 2

    def test_traceback_comes_from_the_answer_where_the_stream_has_none(
        self, run: Callable[..., Any], hook: Hook, shown: list[tuple[int, str]]
    ) -> None:
        hook.stream_exists = False
        hook.after = []
        hook.answer = Answer(FAILURE, "Unhandled", "START\nEND")

        with pytest.raises(errors.LambdaFunctionFailed):
            run()
        assert shown[-1] == (
            logging.ERROR,
            'Traceback (most recent call last):\n  File "f.py"\nValueError: unlucky',
        )

    @pytest.mark.parametrize(
        "error",
        [
            {
                "errorType": "Sandbox.Timedout",
                "errorMessage": "RequestId: 1 Error: Task timed out after 3.00 seconds",
            },
            {"errorMessage": "2025-11-20T00:00:00.000Z 1 Task timed out after 3.00 seconds"},
        ],
        ids=["typed", "text"],
    )
    def test_timeout_is_told_apart_and_shows_what_was_relayed(
        self, run: Callable[..., Any], hook: Hook, shown: list[tuple[int, str]], error: dict[str, str],
        warned: Callable[[], str],
    ) -> None:  # fmt: skip
        hook.after = ["[INFO #1] one"]
        hook.answer = Answer(json.dumps(error).encode(), "Unhandled")

        with pytest.raises(errors.LambdaTimedOut, match="Task timed out after"):
            run()
        assert shown[0] == (logging.INFO, "one")
        assert "no end marker" in warned()

    def test_killed_process_is_a_failure(self, run: Callable[..., Any], hook: Hook) -> None:
        error = {"errorType": "Runtime.ExitError", "errorMessage": "RequestId: 1 Error: Runtime exited"}
        hook.answer = Answer(json.dumps(error).encode(), "Unhandled")

        with pytest.raises(errors.LambdaFunctionFailed, match=r"Runtime\.ExitError") as caught:
            run()
        assert type(caught.value) is errors.LambdaFunctionFailed

    def test_error_that_is_not_an_object_is_shown_as_it_is(self, run: Callable[..., Any], hook: Hook) -> None:
        hook.answer = Answer(b"out of cheese", "Unhandled")

        with pytest.raises(errors.LambdaFunctionFailed, match="Unhandled: out of cheese"):
            run()

    def test_failure_that_was_made_a_result_is_a_failure(self, run: Callable[..., Any], hook: Hook) -> None:
        hook.after = [end(1, "failed", error="ValueError: unlucky")]

        with pytest.raises(errors.LambdaFunctionFailed, match="ValueError: unlucky"):
            run()

    def test_lambdas_word_counts_more_than_the_end_marker(self, run: Callable[..., Any], hook: Hook) -> None:
        hook.after = [end(1)]
        hook.answer = Answer(b'{"errorType": "Function.ResponseSizeTooLarge"}', "Unhandled")

        with pytest.raises(errors.LambdaFunctionFailed, match="ResponseSizeTooLarge"):
            run()

    def test_error_of_the_invocation_comes_after_the_lines(
        self, run: Callable[..., Any], hook: Hook, shown: list[tuple[int, str]]
    ) -> None:
        hook.during = ["[INFO #1] one"]
        hook.answer = errors.LambdaOutcomeUnknown("broke")

        with pytest.raises(errors.LambdaOutcomeUnknown, match="broke"):
            run()
        assert shown == [(logging.INFO, "one")]


class TestResult:
    @pytest.mark.bad_input(23)
    @pytest.mark.parametrize(
        ("payload", "result"), [(b"", None), (b"null", None), (b"not json", "not json")], ids=repr
    )
    def test_result_that_is_no_json_becomes_text_or_nothing(
        self, run: Callable[..., Any], hook: Hook, payload: bytes, result: str | None
    ) -> None:
        hook.answer = Answer(payload)

        assert run() == result

    @pytest.mark.bad_input(24)
    def test_there_is_a_limit_unless_another_is_given(
        self, run: Callable[..., Any], hook: Hook, warned: Callable[[], str]
    ) -> None:
        hook.answer = Answer(b'"' + b"x" * 6_000_000 + b'"')

        assert run() is None
        assert "6000002 bytes, is over the limit of 262144" in warned()

    def test_result_up_to_the_limit_is_returned(self, run: Callable[..., Any], hook: Hook) -> None:
        hook.answer = Answer(b'"' + b"x" * 98 + b'"')

        assert run(max_result_bytes=100) == "x" * 98

    @pytest.mark.bad_input(24)
    def test_result_over_the_limit_is_left_out_with_a_warning(
        self, run: Callable[..., Any], hook: Hook, warned: Callable[[], str]
    ) -> None:
        hook.answer = Answer(b'"' + b"x" * 99 + b'"')

        assert run(max_result_bytes=100) is None
        assert "101 bytes" in warned()


class TestKill:
    def test_killed_task_stops_waiting_and_says_what_goes_on(
        self, hook: Hook, shown: list[tuple[int, str]], warned: Callable[[], str]
    ) -> None:
        operator = make()
        operator.__dict__["hook"] = hook
        hook.endless = True
        hook.during = ["[INFO #1] one"]

        def kill() -> None:
            hook.shown.wait(5)
            operator.on_kill()

        threading.Thread(target=kill).start()

        with pytest.raises(errors.LambdaAbandoned, match="the task for f was asked to stop"):
            operator.execute({"ti": task_instance()})  # type: ignore[typeddict-item]

        assert shown == [(logging.INFO, "one")]
        assert "cannot be cancelled" in warned()

    def test_killed_while_it_drains_it_stops_at_once(self, hook: Hook, shown: list[tuple[int, str]]) -> None:
        operator = make(drain_seconds=60)
        operator.__dict__["hook"] = hook
        hook.after = ["[INFO #1] one"]
        killed: list[float] = []

        def kill() -> None:
            hook.shown.wait(5)
            killed.append(time.monotonic())
            operator.on_kill()

        threading.Thread(target=kill).start()

        with pytest.raises(errors.LambdaAbandoned):
            operator.execute({"ti": task_instance()})  # type: ignore[typeddict-item]
        assert time.monotonic() - killed[0] < 2
        assert shown == [(logging.INFO, "one")]

    def test_killed_before_it_started_nothing_is_said_to_go_on(
        self, hook: Hook, shown: list[tuple[int, str]], warned: Callable[[], str]
    ) -> None:
        operator = make()
        operator.__dict__["hook"] = hook
        hook.throttled = True
        hook.on_throttled = operator.on_kill

        with pytest.raises(errors.LambdaAbandoned):
            operator.execute({"ti": task_instance()})  # type: ignore[typeddict-item]

        assert "goes on" not in warned()

    def test_execution_timeout_is_passed_on_after_a_last_look(
        self, run: Callable[..., Any], hook: Hook, shown: list[tuple[int, str]],
        warned: Callable[[], str], monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        class TaskTimeout(BaseException):
            """As Airflow's: raised by a signal handler into the waiting loop."""

        def wait(*_: Any, **__: Any) -> None:
            hook.during = ["[INFO #1] last words"]
            raise TaskTimeout

        hook.endless = True
        monkeypatch.setattr("custom.call.wait", wait)

        with pytest.raises(TaskTimeout):
            run()
        assert shown == [(logging.INFO, "last words")]
        assert "cannot be cancelled" in warned()


def test_template_fields() -> None:
    assert set(LambdaOperator.template_fields) == {"function_name", "payload", "qualifier", "awslogs_group"}


@pytest.mark.bad_input(13)
def test_arguments_are_kept_as_they_are() -> None:
    payload = {"a": 1}

    assert make(payload=payload).payload is payload
    assert make().payload is None


@pytest.mark.bad_input(29)
def test_an_operator_is_made_without_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("AWS or Airflow was asked before the task ran")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("airflow.sdk.bases.hook.BaseHook.get_connection", refuse)
    monkeypatch.setattr("boto3.session.Session", refuse)

    LambdaOperator(task_id="t", function_name="f", awslogs_group="/g")


@pytest.mark.bad_input(29)
def test_parsing_a_dag_imports_neither_boto3_nor_the_provider() -> None:
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "import airflow.sdk\n"
        "before = set(sys.modules)\n"
        "from custom.operators.lambda_function import LambdaOperator\n"
        "LambdaOperator(task_id='t', function_name='f', awslogs_group='/g')\n"
        "print([m for m in set(sys.modules) - before if m.split('.')[0] in ('boto3', 'botocore', 'requests')"
        " or 'amazon' in m])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_answer_within_the_functions_time_and_a_margin_ends_it(
    run: Any, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that says nothing any more; the function is not invoked a second time."""
    monkeypatch.setattr("custom.hooks.lambda_function.ANSWER_MARGIN_SECONDS", 0.1)
    hook.settings = FunctionSettings(0, "/aws/lambda/f")
    hook.endless = True

    with pytest.raises(errors.LambdaTimedOut, match="no answer"):
        run()

    assert len(hook.calls) == 1


class Links:
    """What a task instance has shown as its link, in turn, and whether the function was done by then."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook
        self.pushed: list[tuple[str, bool]] = []

    def xcom_push(self, key: str, value: str) -> None:
        assert key == LambdaOperator.operator_extra_links[0].xcom_key
        self.pushed.append((value, self.hook.done))


def test_the_stream_is_linked_while_the_function_runs(run: Any, hook: Hook) -> None:
    links = Links(hook)
    hook.during = [end(1)]
    hook.after = []

    run({"xcom_push": links.xcom_push})

    ((url, done),) = links.pushed
    assert not done
    ((group, stream),) = hook.streams
    assert dict(parse_qsl(urlsplit(url).query)) == {"region": "r", "group": group, "stream": stream}


def test_the_endpoint_of_the_logs_decides_where_the_link_leads(run: Any, hook: Hook) -> None:
    meta = {
        "region_name": "eu-west-1",
        "partition": "aws",
        "endpoint_url": "https://logs.eu-west-1.amazonaws.com",
    }
    hook.logs_client = SimpleNamespace(meta=SimpleNamespace(**meta))
    links = Links(hook)

    run({"xcom_push": links.xcom_push})

    assert links.pushed[0][0].startswith("https://console.aws.amazon.com/cloudwatch/home?region=eu-west-1#")


def test_a_client_that_cannot_be_made_for_the_logs_does_not_fail_the_task(
    run: Any, hook: Hook, warned: Callable[[], str]
) -> None:
    del hook.logs_client

    assert run() == {"lines": 3}
    assert "cannot be linked: 'Hook' object has no attribute 'logs_client'" in warned()


def test_of_a_function_without_the_relay_its_own_stream_is_linked(run: Any, hook: Hook) -> None:
    hook.stream_exists, hook.after = False, []
    links = Links(hook)

    run({"xcom_push": links.xcom_push})

    url, _ = links.pushed[-1]
    asked = dict(parse_qsl(urlsplit(url).query))
    assert asked == {"region": "r", "group": "/aws/lambda/f", "stream": "own stream"}


def test_where_that_is_not_known_the_request_is_looked_for(run: Any, hook: Hook) -> None:
    hook.stream_exists, hook.after = False, []
    hook.answer = Answer(b"1", request_id="r-1")
    hook.own = PermissionError("denied")
    links = Links(hook)

    run({"xcom_push": links.xcom_push})

    url, _ = links.pushed[-1]
    asked = dict(parse_qsl(urlsplit(url).query))
    assert asked == {"region": "r", "group": "/aws/lambda/f", "filter_pattern": '"r-1"'}


class TestConfOverrides:
    PAYLOAD: ClassVar[dict[str, int]] = {"one": 1, "two": 2}
    CONF: ClassVar[dict[str, int]] = {"two": 22, "three": 33}

    @pytest.mark.parametrize(
        ("allowed", "sent"),
        [
            (False, {"one": 1, "two": 2}),
            (True, {"one": 1, "two": 22, "three": 33}),
            ({"two"}, {"one": 1, "two": 22}),
            (["three", "four"], {"one": 1, "two": 2, "three": 33}),
            ([], {"one": 1, "two": 2}),
        ],
    )
    def test_a_run_sets_what_the_author_allows(
        self, run: Any, hook: Hook, allowed: Any, sent: dict[str, int]
    ) -> None:
        run(conf=self.CONF, payload=self.PAYLOAD, conf_overrides=allowed)

        payload = hook.calls[0]["payload"]
        assert {key: payload[key] for key in payload.keys() - contract.RESERVED_KEYS} == sent

    def test_a_run_without_conf_changes_nothing(self, run: Any, hook: Hook) -> None:
        run(conf=None, payload=self.PAYLOAD, conf_overrides=True)

        assert hook.calls[0]["payload"]["two"] == 2

    @pytest.mark.parametrize("wrong", ["two", None, 2])
    def test_what_is_no_list_of_keys_is_refused(self, run: Any, hook: Hook, wrong: Any) -> None:
        with pytest.raises(errors.InvalidRequest, match="conf_overrides"):
            run(conf={"t": 1}, payload=self.PAYLOAD, conf_overrides=wrong)
        assert hook.calls == []
