"""The operator that defers: what it asks for, and how it goes on when the trigger has fired."""

import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import TaskDeferred

from airflow_relay import contract
from airflow_relay.contract import EndMarker
from custom import errors
from custom.hooks.lambda_function import Answer, FunctionSettings
from custom.operators import lambda_function
from custom.operators.lambda_function import LambdaOperator
from custom.relay.following import Follower
from custom.relay.writing import Line
from custom.triggers.lambda_function import LambdaTrigger

TOLD = {
    "function_name": "f", "group_name": "/g", "stream_name": "s", "request_id": "r", "log_group": "/own",
    "invoked_at": 1_000.0, "start_timeout": 60.0, "timeout": 42,
}  # fmt: skip


class Hook:
    """A function that takes events, and its stream as it is when the task goes on."""

    def __init__(self, *stream: str) -> None:
        self.stream = stream
        self.calls: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.reads = 0
        self.failing_reads = self.failing_streams = 0
        meta = {"region_name": "r", "partition": "aws", "endpoint_url": "http://localstack:4566"}
        self.logs_client = SimpleNamespace(meta=SimpleNamespace(**meta))

    def function_settings(self, function_name: str, qualifier: str | None) -> FunctionSettings:
        return FunctionSettings(42, "/own")

    def invoke_once(self, function_name: str, qualifier: str | None, payload: bytes, **more: Any) -> Answer:
        self.calls.append({"payload": json.loads(payload), **more})
        if self.error:
            raise self.error
        return Answer(b"", request_id="r")

    def stream_reader(self, group: str, stream: str) -> Callable[[str | None], Any]:
        def read(token: str | None) -> tuple[list[dict[str, Any]], str | None]:
            self.reads += 1
            if self.failing_streams:
                self.failing_streams -= 1
                raise OSError("throttled")
            return [{"message": message, "timestamp": 1} for message in self.stream], token

        return read

    def last_event(self, group: str, stream: str) -> str:
        assert (group, stream) == ("/g", "s")
        if self.failing_reads:
            self.failing_reads -= 1
            raise OSError("away")
        return self.stream[-1]


@pytest.fixture(autouse=True)
def _outside_of_the_task_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []

    def task_log_writer(name: str) -> Callable[[Line], None]:
        return lambda line: lines.append(line.text)

    monkeypatch.setattr(lambda_function, "task_log_writer", task_log_writer)
    return lines


def make(hook: Hook, **arguments: Any) -> LambdaOperator:
    operator = LambdaOperator(
        **{"task_id": "t", "function_name": "f", "awslogs_group": "/g", "deferrable": True, **arguments}
    )
    operator.__dict__["hook"] = hook
    return operator


def context(**conf: Any) -> Any:
    ti = SimpleNamespace(
        dag_id="d", run_id="r", task_id="t", map_index=3, try_number=2, xcom_push=lambda **_: None
    )
    return {"ti": ti, "dag_run": SimpleNamespace(conf=conf)}


def deferred(hook: Hook, **arguments: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as raised:
        make(hook, **arguments).execute(context())
    return raised.value


def event(
    end: EndMarker | None = None,
    outcome: str = "complete",
    reason: str = "",
    has_stream: bool = True,
    **more: Any,
) -> dict[str, Any]:
    follower = Follower()
    follower.end = end
    position = {"token": "t" if has_stream else None, "follower": follower.position() | more}
    return {"outcome": outcome, "reason": reason, "position": position}


def succeeded(**more: Any) -> EndMarker:
    return EndMarker("succeeded", 0, number=1, **more)


def test_it_invokes_once_and_hands_over_to_the_trigger() -> None:
    hook = Hook()

    handed = deferred(hook)

    (call,) = hook.calls
    assert call["asynchronous"] is True
    assert call["payload"]["airflow_relay"] == {
        "version": 1, "idempotency_key": "d/r/t/3/2", "asynchronous": True,
    }  # fmt: skip
    assert isinstance(handed.trigger, LambdaTrigger)
    invocation = handed.trigger.invocation
    assert (invocation.request_id, invocation.timeout, invocation.log_group) == ("r", 42, "/own")
    assert invocation.stream_name == call["payload"]["stream_name"]
    assert handed.method_name == "execute_complete"


def test_what_it_hands_over_is_json() -> None:
    """Airflow keeps it in its database."""
    handed = deferred(Hook())

    assert json.loads(json.dumps(handed.kwargs)) == handed.kwargs
    _, arguments = handed.trigger.serialize()
    assert json.loads(json.dumps(arguments)) == arguments


def test_the_deferral_is_bounded() -> None:
    """By more than the trigger's own bound, which says what has happened."""
    handed = deferred(Hook())

    assert handed.timeout is not None
    assert 42 + 60 + 30 < handed.timeout.total_seconds() < 3600


def test_a_refused_invocation_does_not_defer() -> None:
    hook = Hook()
    hook.error = errors.LambdaThrottled("busy")

    with pytest.raises(errors.LambdaThrottled):
        make(hook).execute(context())


def test_a_payload_over_lambdas_limit_for_events_is_refused() -> None:
    hook = Hook()

    with pytest.raises(errors.PayloadRefused, match=r"1,048,576 from a deferrable task"):
        make(hook, payload={"data": "x" * 1_048_576}).execute(context())

    assert hook.calls == []


def test_a_kill_during_the_throttled_invocation_stops_it() -> None:
    hook = Hook()
    operator = make(hook)
    operator.on_kill()

    with pytest.raises(errors.LambdaAbandoned):
        operator._pause(10)


def test_the_result_is_taken_from_the_end_marker_in_the_stream(shown: list[str]) -> None:
    marker = succeeded(result={"lines": 3}, result_bytes=12)
    hook = Hook(contract.encode_end(marker))

    result = make(hook).execute_complete(context(), event(marker.without_result()), TOLD)

    assert result == {"lines": 3}
    assert hook.reads == 0, "the trigger has read everything"


def test_no_result_is_none(shown: list[str]) -> None:
    marker = succeeded(result=None, result_bytes=4)

    assert make(Hook(contract.encode_end(marker))).execute_complete(context(), event(marker), TOLD) is None


def test_a_result_too_long_for_the_marker_is_left_out_with_a_warning(
    shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    marker = succeeded(result_bytes=200_001)

    assert make(Hook(contract.encode_end(marker))).execute_complete(context(), event(marker), TOLD) is None
    assert "200001 bytes, is over the 200000 that an end marker holds" in capsys.readouterr().out


def test_a_failed_function_fails_the_task(shown: list[str]) -> None:
    marker = EndMarker("failed", 0, error="lambda_function.Unlucky: no luck: today", number=1)

    with pytest.raises(
        errors.LambdaFunctionFailed, match=r"f failed: Unlucky: no luck: today \(request r, own log /own"
    ):
        make(Hook()).execute_complete(context(), event(marker), TOLD)

    assert shown == [], "the trigger has shown the traceback"


@pytest.mark.parametrize(
    ("outcome", "reason", "error", "says"),
    [
        ("ended", "Task timed out after 3.00 seconds", errors.LambdaTimedOut, "timed out after 3.00"),
        ("ended", "Runtime exited with error: exit status 7", errors.LambdaFunctionFailed, "exit status 7"),
        ("ended", "", errors.LambdaFunctionFailed, "Lambda reports no error"),
        ("overdue", "", errors.LambdaTimedOut, "not within 162 s"),
        ("overdue", "OSError: away", errors.LambdaTimedOut, "OSError: away"),
    ],
)
def test_an_end_without_marker_fails_with_the_reason(
    shown: list[str], outcome: str, reason: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(errors.LambdaFunctionFailed, match=f"no end marker: .*{says}") as raised:
        make(Hook()).execute_complete(context(), event(None, outcome, reason), TOLD)

    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("outcome", "says"),
    [("not started", "not heard of for 90 s"), ("ended", "has ended .no error is reported")],
)
def test_a_function_without_stream_is_told_apart(shown: list[str], outcome: str, says: str) -> None:
    """It may never have started, or not wear the decorator."""
    with pytest.raises(errors.LambdaOutcomeUnknown, match=says) as raised:
        make(Hook()).execute_complete(context(), event(None, outcome, has_stream=False), TOLD)

    assert "@airflow_relay.relay" in str(raised.value)


STREAM_OF_OTHERS: dict[str, Any] = {"others": {"count": 2, "repeated": 0, "error": "ERROR root unlucky"}}


@pytest.mark.bad_input(50)
@pytest.mark.parametrize("outcome", ["ended", "overdue"])
def test_how_a_function_with_another_decorator_has_ended_is_unknown(shown: list[str], outcome: str) -> None:
    with pytest.raises(errors.LambdaOutcomeUnknown, match=r"deferrable=True needs.*ERROR root unlucky"):
        make(Hook()).execute_complete(context(), event(None, outcome, **STREAM_OF_OTHERS), TOLD)


def test_what_lambda_says_of_its_end_counts(shown: list[str]) -> None:
    fired = event(None, "ended", "Task timed out after 3.00 seconds", **STREAM_OF_OTHERS)

    with pytest.raises(errors.LambdaTimedOut):
        make(Hook()).execute_complete(context(), fired, TOLD)


def test_lines_that_two_decorators_wrote_are_a_warning(
    shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fired = event(succeeded(), others={"count": 1, "repeated": 1, "error": ""})

    make(Hook()).execute_complete(context(), fired, TOLD)

    assert "in the log stream twice, 1 of them" in capsys.readouterr().out


def test_an_end_that_came_after_all_counts(shown: list[str]) -> None:
    hook = Hook("[INFO #1] late", contract.encode_end(EndMarker("succeeded", 1, number=2)))

    make(hook).execute_complete(context(), event(None, "overdue"), TOLD)

    assert shown == ["late"]


def test_missing_lines_can_fail_the_task(shown: list[str]) -> None:
    missing = event(EndMarker("succeeded", 2, number=3), last=3, awaited=[[1, 2]])

    with pytest.raises(errors.RelayIncomplete, match="2 log events are missing"):
        make(Hook(), fail_on_incomplete_relay=True).execute_complete(context(), missing, TOLD)


def test_templates_that_change_do_not_change_where_it_looks(shown: list[str]) -> None:
    """They are rendered again when the task goes on."""
    marker = succeeded(result=1, result_bytes=1)
    operator = make(Hook(contract.encode_end(marker)), function_name="g", awslogs_group="/other")

    assert operator.execute_complete(context(), event(marker.without_result()), TOLD) == 1


def test_the_result_is_read_again_while_the_log_service_is_away(shown: list[str]) -> None:
    marker = succeeded(result=1, result_bytes=1)
    hook = Hook(contract.encode_end(marker))
    hook.failing_reads = 2

    operator = make(hook, poll_seconds=0.05)

    assert operator.execute_complete(context(), event(marker.without_result()), TOLD) == 1


def test_a_result_that_cannot_be_read_any_more_fails_the_task(shown: list[str]) -> None:
    """The tasks behind it would otherwise work with nothing."""
    hook = Hook()
    hook.failing_reads = 99

    with pytest.raises(errors.RelayIncomplete, match=r"succeeded, but .* cannot be read any more .*: away"):
        make(hook, poll_seconds=0.05, drain_seconds=0.1).execute_complete(
            context(), event(succeeded(result_bytes=1)), TOLD
        )


def test_an_execution_timeout_bounds_the_deferral() -> None:
    handed = deferred(Hook(), execution_timeout=timedelta(seconds=30))

    assert handed.timeout == timedelta(seconds=30)


def test_the_last_look_is_repeated_while_reading_fails(shown: list[str]) -> None:
    """The function has succeeded; a throttled read must not make the task run it again."""
    hook = Hook(contract.encode_end(succeeded()))
    hook.failing_streams = 3

    operator = make(hook, poll_seconds=0.05, drain_seconds=5)

    assert operator.execute_complete(context(), event(None, "ended", has_stream=False), TOLD) is None


def test_what_cannot_be_read_at_all_is_told(shown: list[str]) -> None:
    hook = Hook()
    hook.failing_streams = 99

    with pytest.raises(errors.RelayIncomplete, match="OSError: throttled"):
        make(hook, poll_seconds=0.05, drain_seconds=0.1).execute_complete(
            context(), event(None, "overdue"), TOLD
        )


def test_a_function_that_has_begun_too_late_is_told_apart(shown: list[str]) -> None:
    with pytest.raises(errors.LambdaOutcomeUnknown, match="begun so late"):
        make(Hook("[INFO #1] late")).execute_complete(context(), event(None, "not started"), TOLD)


def test_an_event_that_was_taken_is_named_when_the_task_ends_before_it_is_deferred(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = Hook()

    def stopped(*_: Any) -> FunctionSettings:
        raise KeyboardInterrupt

    monkeypatch.setattr(hook, "function_settings", stopped)

    with pytest.raises(KeyboardInterrupt):
        make(hook).execute(context())
    assert "Lambda has taken the event" in capsys.readouterr().out
