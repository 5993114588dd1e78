"""How an invocation has ended, and what the task makes of it."""

import logging
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_relay import contract
from custom.errors import LambdaFunctionFailed, LambdaOutcomeUnknown, LambdaTimedOut, RelayIncomplete
from custom.payload import decode_payload
from custom.relay.following import StreamRelay
from custom.relay.writing import Line, sanitised

if TYPE_CHECKING:
    from custom.hooks.lambda_function import Answer

# A cold start takes its time, and the clocks of worker and triggerer differ.
START_MARGIN_SECONDS = 30
# The last events, and the end marker, may come this long after the function's timeout.
END_MARGIN_SECONDS = 30

# How a trigger's watch over a function has ended.
COMPLETE = "complete"
ENDED = "ended"
NOT_STARTED = "not started"
OVERDUE = "overdue"

# What Lambda's error object holds after a timeout: type "Sandbox.Timedout", or a message like this.
_TIMEOUT = re.compile(r"Sandbox\.Timedout|Task timed out after")


@dataclass(frozen=True)
class Invocation:
    """An asynchronous invocation that is under way.

    :param log_group: of the function's own log.
    :param invoked_at: seconds since the epoch.
    :param start_timeout: how many seconds the event may wait for a free execution environment.
    :param timeout: the function's, in seconds.
    """

    function_name: str
    group_name: str
    stream_name: str
    request_id: str
    log_group: str
    invoked_at: float
    start_timeout: float
    timeout: int

    @property
    def start_deadline(self) -> float:
        """Return when the stream must be there, in seconds since the epoch."""
        return self.invoked_at + self.start_timeout + START_MARGIN_SECONDS

    @property
    def deadline(self) -> float:
        """Return when the end marker must be there, in seconds since the epoch."""
        return self.start_deadline + self.timeout + END_MARGIN_SECONDS


@dataclass(frozen=True)
class Failure:
    """Why a function failed. The texts are the function's own and are sanitised when they are shown."""

    kind: str
    message: str
    frames: tuple[str, ...] = ()
    """As Lambda writes them; none if Lambda did not say."""

    def traceback(self) -> str:
        """Return what Python would print."""
        head = ["Traceback (most recent call last):", *self.frames] if self.frames else []
        return "\n".join([*head, f"{sanitised(self.kind)}: {sanitised(self.message)}"])


@dataclass(frozen=True)
class Outcome:
    """How one invocation has ended.

    :param log_group: of the function's own log.
    :param payload: what the function returned, as JSON; empty if that is not known.
    :param failure: why it failed; None if it succeeded.
    :param log_tail: the last 4 KB of the function's own log.
    """

    function_name: str
    request_id: str
    log_group: str
    payload: bytes = b""
    failure: Failure | None = None
    log_tail: str = ""

    @property
    def where(self) -> str:
        """Where to look for more."""
        return f"request {self.request_id}, own log {self.log_group}"

    def judge(self, end: contract.EndMarker | None) -> None:
        """Raise if the function failed, by its answer or by its end marker.

        :raises LambdaTimedOut: if Lambda ended it at its timeout.
        :raises LambdaFunctionFailed: if it failed in another way.
        """
        if self.failure:
            kind, message = sanitised(self.failure.kind), sanitised(self.failure.message)
            failure = LambdaTimedOut if _TIMEOUT.search(f"{kind} {message}") else LambdaFunctionFailed
            raise failure(f"{self.function_name} failed: {kind}: {message} ({self.where})")
        if end is not None and end.status == contract.FAILED:
            # Something around the decorated handler has turned the exception into a result.
            raise LambdaFunctionFailed(
                f"{self.function_name} answered as if it had succeeded, "
                f"but its handler raised {sanitised(end.error)} ({self.where})"
            )


def answered(function_name: str, answer: "Answer", log_group: str) -> Outcome:
    """Return the outcome that Lambda has answered with."""
    failure = None
    if answer.function_error:
        error = decode_payload(answer.payload)
        if not isinstance(error, dict):
            error = {"errorMessage": error}
        frames = tuple(str(frame).rstrip() for frame in error.get("stackTrace") or ())
        kind, message = error.get("errorType", answer.function_error), error.get("errorMessage", "")
        failure = Failure(str(kind), str(message), frames)
    return Outcome(function_name, answer.request_id, log_group, answer.payload, failure, answer.log_tail)


def watched(function_name: str, invocation: Invocation, event: dict[str, Any], relay: StreamRelay) -> Outcome:
    """Return the outcome of an asynchronous invocation, without the result of one that succeeded.

    :param event: from :class:`custom.triggers.lambda_function.LambdaTrigger`.
    :raises RelayIncomplete: if the stream cannot be read.
    :raises LambdaOutcomeUnknown: if nothing was heard of the function.
    """
    outcome = Outcome(function_name, invocation.request_id, invocation.log_group)
    end = relay.follower.end
    if end is None:
        _require_heard_of(invocation, event, relay, outcome.where)
        return replace(outcome, failure=_unmarked(invocation, event))
    if end.status == contract.SUCCEEDED:
        return outcome
    kind, _, message = end.error.partition(": ")
    return replace(outcome, failure=Failure(kind.rpartition(".")[2] or kind, message))


def _require_heard_of(invocation: Invocation, event: dict[str, Any], relay: StreamRelay, where: str) -> None:
    name = invocation.function_name
    if relay.error:
        raise RelayIncomplete(
            f"{name} took the event, but its log stream {invocation.group_name} "
            f"{invocation.stream_name} cannot be read: {relay.error}. Whether it ran is unknown ({where})"
        )
    if relay.follower.is_foreign and not (event["outcome"] == ENDED and event["reason"]):
        error = relay.follower.others.error
        raise LambdaOutcomeUnknown(
            f"{name} wrote its log stream, but without the end marker of @airflow_relay.relay, which "
            "deferrable=True needs. Whether it has succeeded is unknown"
            f"{f'; its last lines are those of an error: {sanitised(error)}' if error else ''} ({where})"
        )
    if event["outcome"] == NOT_STARTED and relay.stream_exists():
        raise LambdaOutcomeUnknown(
            f"{name} has begun so late that it was given up (start_timeout "
            f"{invocation.start_timeout:g} s). It may still run ({where})"
        )
    if event["outcome"] in (NOT_STARTED, ENDED) and not relay.stream_exists():
        waited = invocation.start_deadline - invocation.invoked_at
        seen = f"was not heard of for {waited:g} s (start_timeout and a margin)"
        if event["outcome"] == ENDED:
            seen = f"has ended ({event['reason'] or 'no error is reported'})"
        raise LambdaOutcomeUnknown(
            f"{name} took the event and {seen}, but never made its log stream. Is its "
            "handler decorated with @airflow_relay.relay, as deferrable=True needs, and may it write to "
            f"{invocation.group_name}? Or does the event wait for concurrency? It may still run ({where})"
        )


def _unmarked(invocation: Invocation, event: dict[str, Any]) -> Failure:
    """Return why a function left no end marker."""
    if event["outcome"] == ENDED:
        reason = event["reason"] or "Lambda reports no error"
        kind = "Sandbox.Timedout" if _TIMEOUT.search(reason) else "Runtime.ExitError"
    else:
        kind = "Sandbox.Timedout"
        reason = event["reason"] or f"not within {invocation.deadline - invocation.invoked_at:.0f} s"
    return Failure(kind, f"it left no end marker: {reason}")


def gap(relay: StreamRelay, tail_end: contract.EndMarker | None) -> str:
    """Say what the relayed log lacks; empty if nothing. ``tail_end`` is from the own log's tail."""
    follower = relay.follower
    if tail_end:
        follower.expect(tail_end)
    end = follower.end or tail_end
    reasons = []
    if follower.is_foreign:
        reasons.append(
            "others than @airflow_relay.relay write the log stream: whether it lacks lines is unknown"
        )
    elif follower.end is None:
        reasons.append("the log stream has no end marker")
    if missing := follower.missing():
        refused = f" ({end.rejected} refused by CloudWatch, {end.lost} never sent)" if end else ""
        reasons.append(f"{missing} log events are missing{refused}")
    return " and ".join(reasons)


def show_rest(outcome: Outcome, relay: StreamRelay, tail_end: contract.EndMarker | None, log: Any) -> None:
    """Show in the task's log what the stream does not hold: the own log's tail, then the traceback."""
    knows_relay = relay.stream_exists() or tail_end is not None
    end, others = relay.follower.end, relay.follower.others
    if knows_relay and (missing := gap(relay, tail_end)):
        say = log.info if relay.follower.is_foreign else log.warning
        say("%s. The function's own log has all: %s", missing, outcome.log_group)
    if others.repeated:
        log.warning(
            "Lines that are in the log stream twice, %d of them, are shown once: another decorator writes to "
            "it as well as @airflow_relay.relay. Remove it",
            others.repeated,
        )
    if others.error and not outcome.failure and (end is None or end.status != contract.FAILED):
        log.warning(
            "%s succeeded as Lambda sees it, but the last lines of its other decorator are those of an "
            "error: %s. Did it return what the handler raised? With @airflow_relay.relay the task would fail",
            outcome.function_name,
            sanitised(others.error),
        )
    if end and end.clamped:
        log.warning("%d lines carried a time outside of the call and are shown within it", end.clamped)
    now = int(time.time() * 1000)
    if not relay.follower.lines and outcome.log_tail:
        log.info("%s relayed no lines; the last 4 KB of its own log follow", outcome.function_name)
        for text in outcome.log_tail.splitlines():
            relay.write(Line(logging.INFO, text, now))
    if outcome.failure and (end is None or end.status != contract.FAILED):
        relay.write(Line(logging.ERROR, outcome.failure.traceback(), now))
