"""How an invocation has ended, whichever way that was learnt, and what the task makes of it."""

import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_relay import contract
from custom.errors import LambdaFunctionFailed, LambdaOutcomeUnknown, LambdaTimedOut, RelayIncomplete
from custom.relay.following import StreamRelay
from custom.relay.sanitising import sanitised
from custom.relay.writing import Line

if TYPE_CHECKING:
    from custom.hooks.lambda_function import Answer
    from custom.triggers.lambda_function import Invocation

# What Lambda's error object holds after a timeout: type "Sandbox.Timedout", or a message like this.
_TIMEOUT = re.compile(r"Sandbox\.Timedout|Task timed out after")


@dataclass(frozen=True)
class Failure:
    """Why a function failed. Both texts are the function's own and are sanitised when they are shown."""

    kind: str
    message: str
    # Frames as Lambda writes them; none if Lambda did not say.
    frames: tuple[str, ...] = ()

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
        """Raise if the function failed.

        :param end: the stream's end marker, if there is one.
        :raises LambdaTimedOut: if Lambda ended it at its timeout.
        :raises LambdaFunctionFailed: if it failed in another way.
        """
        if self.failure:
            kind, message = sanitised(self.failure.kind), sanitised(self.failure.message)
            failure = LambdaTimedOut if _TIMEOUT.search(f"{kind} {message}") else LambdaFunctionFailed
            raise failure(f"{self.function_name} failed: {kind}: {message} ({self.where})")
        if end is not None and end.status == contract.FAILED:
            # Something around the decorated handler has made a result of what that raised.
            raise LambdaFunctionFailed(
                f"{self.function_name} answered as if it had succeeded, "
                f"but its handler raised {sanitised(end.error)} ({self.where})"
            )


def answered(function_name: str, answer: "Answer", log_group: str) -> Outcome:
    """Return the outcome that Lambda has answered with."""
    failure = None
    if answer.function_error:
        error = answer.result()
        if isinstance(error, dict):
            frames = tuple(str(frame).rstrip() for frame in error.get("stackTrace") or ())
            kind, message = error.get("errorType", answer.function_error), error.get("errorMessage", "")
            failure = Failure(str(kind), str(message), frames)
        else:
            failure = Failure(answer.function_error, str(error))
    return Outcome(function_name, answer.request_id, log_group, answer.payload, failure, answer.log_tail)


def watched(
    function_name: str, invocation: "Invocation", event: dict[str, Any], relay: StreamRelay
) -> Outcome:
    """Return the outcome of an asynchronous invocation, as its stream and its trigger tell.

    The payload of one that succeeded is empty: the end marker in the stream holds it.

    :param event: from :class:`custom.triggers.lambda_function.LambdaTrigger`.
    :raises RelayIncomplete: if the stream cannot be read.
    :raises LambdaOutcomeUnknown: if nothing was heard of the function.
    """
    outcome = Outcome(function_name, invocation.request_id, invocation.log_group)
    end = relay.follower.end
    if end is None:
        _require_heard_of(invocation, event, relay, outcome.where)
        failure = _unmarked(invocation, event)
    elif end.status == contract.SUCCEEDED:
        return outcome
    else:
        kind, _, message = end.error.partition(": ")
        failure = Failure(kind.rpartition(".")[2] or kind, message)
    return replace(outcome, failure=failure)


def _require_heard_of(
    invocation: "Invocation", event: dict[str, Any], relay: StreamRelay, where: str
) -> None:
    from custom.triggers.lambda_function import ENDED, NOT_STARTED

    name = invocation.function_name
    if relay.error:
        raise RelayIncomplete(
            f"{name} took the event, but its log stream {invocation.group_name} "
            f"{invocation.stream_name} cannot be read: {relay.error}. Whether it ran is unknown ({where})"
        )
    if event["outcome"] == NOT_STARTED and relay.stream_exists():
        raise LambdaOutcomeUnknown(
            f"{name} has begun so late that it was given up (start_timeout "
            f"{invocation.start_timeout:g} s). It may still run ({where})"
        )
    if event["outcome"] == NOT_STARTED or (event["outcome"] == ENDED and not relay.stream_exists()):
        waited = invocation.start_deadline - invocation.invoked_at
        seen = (
            f"has ended ({event['reason'] or 'no error is reported'})"
            if event["outcome"] == ENDED
            else f"was not heard of for {waited:g} s (start_timeout and a margin)"
        )
        raise LambdaOutcomeUnknown(
            f"{name} took the event and {seen}, but never made its log stream. Is its "
            "handler decorated with @airflow_relay.relay, as deferrable=True needs, and may it write to "
            f"{invocation.group_name}? Or does the event wait for concurrency? It may still run ({where})"
        )


def _unmarked(invocation: "Invocation", event: dict[str, Any]) -> Failure:
    """Return why a function left no end marker."""
    from custom.triggers.lambda_function import ENDED

    if event["outcome"] == ENDED:
        reason = event["reason"] or "Lambda reports no error"
        kind = "Sandbox.Timedout" if _TIMEOUT.search(reason) else "Runtime.ExitError"
    else:
        kind = "Sandbox.Timedout"
        reason = event["reason"] or f"not within {invocation.deadline - invocation.invoked_at:.0f} s"
    return Failure(kind, f"it left no end marker: {reason}")


def result_in_stream(
    invocation: "Invocation",
    end: contract.EndMarker,
    *,
    read: Callable[[], str],
    pause: Callable[[], None],
    patience: float,
    log: Any,
) -> bytes:
    """Return the result of a function, which the end marker in its stream holds.

    :param end: the marker as the trigger's event has it: without a large result.
    :param read: returns the stream's last event.
    :param pause: waits between two tries.
    :param patience: seconds for which reading is tried.
    :param log: the task's.
    :raises RelayIncomplete: if the marker cannot be read in that time.
    """
    if not end.result_bytes:
        return b""
    if end.result_bytes > contract.MAX_RESULT_BYTES:
        log.warning(
            "The result of %s, %d bytes, is over the %d that an end marker holds and is not kept: "
            "let the function put it into S3 and return the key",
            invocation.function_name,
            end.result_bytes,
            contract.MAX_RESULT_BYTES,
        )
        return b""
    trouble: object = "it is not the stream's last event"
    deadline = time.monotonic() + patience
    while end.result is None:
        try:
            marker = contract.decode(read())
            if isinstance(marker, contract.EndMarker):
                end = marker
                break
        except Exception as error:
            trouble = error
        if time.monotonic() >= deadline:
            raise RelayIncomplete(
                f"{invocation.function_name} succeeded, but the end marker with its result cannot be read "
                f"any more from {invocation.group_name} {invocation.stream_name}: {trouble}"
            )
        pause()
    return json.dumps(end.result).encode()


def gap(relay: StreamRelay, tail_end: contract.EndMarker | None) -> str:
    """Say in what way the relayed log is incomplete; empty if it is complete.

    :param tail_end: the end marker in the tail of the function's own log, if there is one.
    """
    follower = relay.follower
    if tail_end is not None:
        follower.expect(tail_end)
    end = follower.end or tail_end
    reasons = []
    if follower.end is None:
        reasons.append("the log stream has no end marker")
    if missing := follower.missing():
        refused = f" ({end.rejected} refused by CloudWatch, {end.lost} never sent)" if end else ""
        reasons.append(f"{missing} log events are missing{refused}")
    return " and ".join(reasons)


def show_rest(
    outcome: Outcome,
    relay: StreamRelay,
    tail_end: contract.EndMarker | None,
    log: Any,
    write: Callable[[Line], None],
) -> None:
    """Show what the stream does not hold: the log's tail, and the traceback, which comes last.

    :param log: the task's.
    :param write: writes a line of the function into it.
    """
    knows_relay = relay.stream_exists() or tail_end is not None
    if knows_relay and (missing := gap(relay, tail_end)):
        log.warning("%s. The function's own log has all: %s", missing, outcome.log_group)
    end = relay.follower.end
    if end is not None and end.clamped:
        log.warning("%d lines carried a time outside of the call and are shown within it", end.clamped)
    now = int(time.time() * 1000)
    if not relay.follower.lines and outcome.log_tail:
        log.info("%s relayed no lines; the last 4 KB of its own log follow", outcome.function_name)
        for text in outcome.log_tail.splitlines():
            write(Line(logging.INFO, text, now))
    if outcome.failure and (end is None or end.status != contract.FAILED):
        write(Line(logging.ERROR, outcome.failure.traceback(), now))
