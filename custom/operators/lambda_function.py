"""An operator that runs a Lambda function and shows its log lines in the task log as they come."""

import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_relay import contract
from custom.errors import (
    InvalidRequest,
    LambdaAbandoned,
    LambdaFunctionFailed,
    LambdaTimedOut,
    RelayIncomplete,
)
from custom.utils.log_relay import Line, StreamRelay, task_log_writer
from custom.utils.payload import checked_payload, encode_payload

# boto3 and the amazon provider take a second to import: only a running task pays for that, not the parser.
if TYPE_CHECKING:
    from airflow.sdk import Context

    from custom.hooks.lambda_function import Answer, LambdaFunctionHook

# A stream is read so often while its function runs: with the function's own pause of 0.4 s before it sends
# a line, that line is in the task log well within a second.
POLL_SECONDS = 0.25
# CloudWatch may show events some seconds after it took them: so long the end marker is waited for.
DRAIN_SECONDS = 10.0
# The same, where the function was ended from outside and an end marker is unlikely.
UNLIKELY_DRAIN_SECONDS = 2.0
MAX_SECONDS = 900
# An XCom lies in Airflow's metadata database.
MAX_RESULT_BYTES = 262_144

# Lambda's model: a name, or an ARN in full or from the account number on. A version has its own argument.
_FUNCTION_NAME = re.compile(r"((arn:aws[a-z-]*:lambda:[a-z0-9-]+:)?\d{12}:function:)?[A-Za-z0-9_-]{1,64}")
# What Lambda's error object holds after a timeout: type "Sandbox.Timedout", or a message like this.
_TIMEOUT = re.compile(r"Sandbox\.Timedout|Task timed out after")
_QUALIFIER = re.compile(r"\$LATEST|[A-Za-z0-9_$-]{1,128}")


class LambdaOperator(BaseOperator):
    """Run a Lambda function, show its log lines in the task log while it runs, return its result.

    One try of the task makes one invocation. The function's handler wears ``@airflow_relay.relay``; of a
    function that does not, the last 4 KB of its log are shown at the end. The task fails when the function
    failed, by Lambda's answer and the stream's end marker; what its lines say has no part in that. The
    function's lines stand in the task log under the logger ``lambda.<function>``, with their own time and
    level. Sent with the payload: the stream to write, and an idempotency key that names dag, run, task, map
    index and try.

    A function that is running cannot be cancelled: when the task is, the function goes on to its end.

    :param function_name: name or ARN, without version. (templated)
    :param awslogs_group: CloudWatch log group for the function's lines; the function makes it if it may and
        must. Each try writes a stream of its own. (templated)
    :param qualifier: version or alias; None or "" for none. (templated)
    :param payload: a JSON object, as a dict or as text. The keys ``group_name``, ``stream_name`` and
        ``airflow_relay`` are reserved. (templated)
    :param aws_conn_id: Airflow connection; None for the credentials of the environment.
    :param region_name: AWS region; None for that of the connection or the environment.
    :param poll_seconds: pause between two looks at the stream.
    :param drain_seconds: how long to wait for late log events after the function has ended.
    :param fail_on_incomplete_relay: fail with RelayIncomplete when the function succeeded but log lines are
        missing; otherwise that is a warning.
    :param max_result_bytes: a longer result does not become the XCom; a warning says so.
    :raises custom.errors.LambdaError: one of its subclasses; each says what happened and what to do.
    """

    template_fields: Sequence[str] = ("function_name", "payload", "qualifier", "awslogs_group")
    template_fields_renderers = {"payload": "json"}  # noqa: RUF012 - the base class has it like this

    def __init__(
        self,
        *,
        function_name: str,
        awslogs_group: str,
        qualifier: str | None = "$LATEST",
        payload: Mapping[str, Any] | str | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        poll_seconds: float = POLL_SECONDS,
        drain_seconds: float = DRAIN_SECONDS,
        fail_on_incomplete_relay: bool = False,
        max_result_bytes: int = MAX_RESULT_BYTES,
        **kwargs: Any,
    ) -> None:
        """Keep the arguments; they are checked when the task runs, after templates are rendered."""
        super().__init__(**kwargs)
        self.function_name = function_name
        self.awslogs_group = awslogs_group
        self.qualifier = qualifier
        self.payload = payload
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.poll_seconds = poll_seconds
        self.drain_seconds = drain_seconds
        self.fail_on_incomplete_relay = fail_on_incomplete_relay
        self.max_result_bytes = max_result_bytes
        self._kill_asked = False

    @cached_property
    def hook(self) -> "LambdaFunctionHook":
        """Return the hook."""
        from custom.hooks.lambda_function import LambdaFunctionHook

        return LambdaFunctionHook(aws_conn_id=self.aws_conn_id, region_name=self.region_name)

    def execute(self, context: "Context") -> Any:
        """Invoke, relay, judge."""
        self._check_arguments()
        destination = self._destination(context)
        body = checked_payload(self.payload)
        payload = encode_payload(body, destination)
        seconds = self.hook.function_timeout(self.function_name, self.qualifier)
        self.log.info(
            "Invoking %s (%s), payload of %d bytes with keys %s; log stream %s %s",
            self.function_name,
            self.qualifier or "unqualified",
            len(payload),
            sorted(body),
            destination.group_name,
            destination.stream_name,
        )
        relay = StreamRelay(
            self.hook.stream_reader(destination.group_name, destination.stream_name),
            task_log_writer(self._short_name()),
            self.poll_seconds,
        )
        answer = self._invoke(payload, seconds, relay)
        tail_end = contract.find_end(answer.log_tail)
        relay.drain(self._drain_seconds(answer, relay, tail_end))
        self._show_rest(answer, relay, tail_end)
        self._judge(answer, relay.follower.end or tail_end)
        if self.fail_on_incomplete_relay and (gap := _gap(relay, tail_end)):
            raise RelayIncomplete(f"{self.function_name} succeeded, but {gap}")
        return self._result(answer)

    def on_kill(self) -> None:
        """Make ``execute`` stop waiting."""
        # Airflow calls this from a signal handler inside execute's own loop: no lock may be taken here.
        self._kill_asked = True

    def _check_arguments(self) -> None:
        if not isinstance(self.function_name, str) or not _FUNCTION_NAME.fullmatch(self.function_name):
            raise InvalidRequest(
                f"function_name {self.function_name!r:.200} is neither a Lambda function's name (1 to 64 "
                "letters, digits, - and _) nor its ARN without version"
            )
        if self.qualifier and not _QUALIFIER.fullmatch(self.qualifier):
            raise InvalidRequest(f"qualifier {self.qualifier!r:.200} is neither a version nor an alias")
        try:
            contract.check_group_name(self.awslogs_group)
        except contract.ContractError as error:
            raise InvalidRequest(f"awslogs_group: {error}") from None
        for name, least in (("poll_seconds", 0.05), ("drain_seconds", 0)):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not least <= value <= MAX_SECONDS:
                raise InvalidRequest(f"{name} must be between {least} and {MAX_SECONDS}, not {value!r:.100}")

    def _destination(self, context: "Context") -> contract.Destination:
        ti = context["ti"]
        map_index = -1 if ti.map_index is None else ti.map_index
        key = contract.idempotency_key(ti.dag_id, ti.run_id, ti.task_id, map_index, ti.try_number)
        stream = contract.stream_name(datetime.now(UTC), self.qualifier, key, uuid.uuid4().hex)
        return contract.Destination(self.awslogs_group, stream, key)

    def _short_name(self) -> str:
        return self.function_name.rpartition(":")[2]

    def _invoke(self, payload: bytes, seconds: int, relay: StreamRelay) -> "Answer":
        """Invoke in a thread, and copy the stream meanwhile."""
        stop = threading.Event()

        def pause(pause_seconds: float) -> None:
            if stop.wait(pause_seconds):
                raise LambdaAbandoned("stopped before the function was started")

        invocation = _in_background(
            lambda: self.hook.invoke_once(self.function_name, self.qualifier, payload, seconds, pause=pause)
        )
        try:
            while not wait([invocation], timeout=relay.pause).done:
                if self._kill_asked:
                    raise LambdaAbandoned(f"the task was told to stop while {self.function_name} was running")
                relay.copy_new()
        except BaseException:
            # Also Airflow's execution_timeout, which is raised into whatever runs.
            stop.set()
            relay.copy_new()
            self.log.warning(
                "%s goes on to its end: a synchronous invocation cannot be cancelled. "
                "Its further lines are in the log stream only",
                self.function_name,
            )
            raise
        relay.copy_new()
        return invocation.result()

    def _drain_seconds(
        self, answer: "Answer", relay: StreamRelay, tail_end: contract.EndMarker | None
    ) -> float:
        """Return how long an end marker is worth waiting for."""
        if tail_end is not None and not tail_end.lost:
            return self.drain_seconds
        if tail_end is not None or answer.function_error:
            return min(UNLIKELY_DRAIN_SECONDS, self.drain_seconds)
        return self.drain_seconds if relay.stream_exists() else 0

    def _show_rest(self, answer: "Answer", relay: StreamRelay, tail_end: contract.EndMarker | None) -> None:
        """Show what the stream does not hold: the log's tail, and the traceback, which comes last."""
        knows_relay = relay.stream_exists() or tail_end is not None
        if knows_relay and (gap := _gap(relay, tail_end)):
            self.log.warning("%s. The function's own log has all: /aws/lambda/%s", gap, self._short_name())
        end = relay.follower.end
        if end is not None and end.clamped:
            self.log.warning(
                "%d lines carried a time outside of the call and are shown within it", end.clamped
            )
        if not relay.follower.lines and answer.log_tail:
            self.log.info("%s relayed no lines; the last 4 KB of its own log follow", self.function_name)
            self._write_now(logging.INFO, *answer.log_tail.splitlines())
        if answer.function_error and (end is None or end.status != contract.FAILED):
            self._write_now(logging.ERROR, _traceback(answer))

    def _write_now(self, level: int, *texts: str) -> None:
        write = task_log_writer(self._short_name())
        for text in texts:
            write(Line(level, text, int(time.time() * 1000)))

    def _judge(self, answer: "Answer", end: contract.EndMarker | None) -> None:
        """Raise if the function failed."""
        where = f"request {answer.request_id}, own log /aws/lambda/{self._short_name()}"
        if answer.function_error:
            kind, message = _error(answer)
            failure = LambdaTimedOut if _TIMEOUT.search(f"{kind} {message}") else LambdaFunctionFailed
            raise failure(f"{self.function_name} failed: {kind}: {message} ({where})")
        if end is not None and end.status == contract.FAILED:
            # Something around the decorated handler has made a result of what that raised.
            raise LambdaFunctionFailed(
                f"{self.function_name} answered as if it had succeeded, "
                f"but its handler raised {end.error} ({where})"
            )

    def _result(self, answer: "Answer") -> Any:
        if len(answer.payload) > self.max_result_bytes:
            self.log.warning(
                "The result of %s, %d bytes, is over the limit of %d and is not kept: "
                "let the function put it into S3 and return the key",
                self.function_name,
                len(answer.payload),
                self.max_result_bytes,
            )
            return None
        return answer.result()


def _in_background(call: "Callable[[], Answer]") -> "Future[Answer]":
    """Run a call in a daemon thread: unlike an executor's, it does not keep a killed task alive."""
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="lambda-invoke", daemon=True).start()
    return future


def _gap(relay: StreamRelay, tail_end: contract.EndMarker | None) -> str:
    """Say in what way the relayed log is incomplete; empty if it is complete."""
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


def _error(answer: "Answer") -> tuple[str, str]:
    """Return type and message from Lambda's error object."""
    error = answer.result()
    if not isinstance(error, dict):
        return answer.function_error, str(error)
    return str(error.get("errorType", answer.function_error)), str(error.get("errorMessage", ""))


def _traceback(answer: "Answer") -> str:
    kind, message = _error(answer)
    error = answer.result()
    frames = error.get("stackTrace") if isinstance(error, dict) else None
    head = ["Traceback (most recent call last):", *map(str.rstrip, map(str, frames))] if frames else []
    return "\n".join([*head, f"{kind}: {message}"])
