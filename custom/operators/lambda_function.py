"""An operator that runs a Lambda function and shows its log lines in the task log as they come."""

import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator

from airflow_relay import contract
from custom.errors import (
    InvalidRequest,
    LambdaAbandoned,
    LambdaFunctionFailed,
    LambdaOutcomeUnknown,
    LambdaTimedOut,
    RelayIncomplete,
)
from custom.links.cloudwatch_logs import LogStreamLink, log_stream_url
from custom.names import FUNCTION_NAME, MAX_FUNCTION_SECONDS, QUALIFIER, short_name
from custom.payload import checked_payload, encode_payload
from custom.relay.log_relay import UNLIKELY_DRAIN_SECONDS, Line, StreamRelay, sanitised, task_log_writer

# boto3 and the amazon provider take a second to import: only a running task pays for that, not the parser.
if TYPE_CHECKING:
    from airflow.sdk import Context

    from custom.hooks.lambda_function import Answer, FunctionSettings, LambdaFunctionHook
    from custom.triggers.lambda_function import Invocation

# A stream is read so often while its function runs: with the function's own pause of 0.4 s before it sends
# a line, that line is in the task log well within a second.
POLL_SECONDS = 0.25
# A triggerer follows many streams, and GetLogEvents has a quota of 10 to 25 a second for the account.
DEFERRED_POLL_SECONDS = 1.0
# CloudWatch may show events some seconds after it took them: so long the end marker is waited for.
DRAIN_SECONDS = 10.0
# As long as Lambda takes to scale out a function that is suddenly in demand, several times over.
START_SECONDS = 60
# An XCom lies in Airflow's metadata database.
MAX_RESULT_BYTES = 262_144
# So long a triggerer may be away before a deferred task fails for that.
TRIGGERER_AWAY = timedelta(minutes=10)

# What Lambda's error object holds after a timeout: type "Sandbox.Timedout", or a message like this.
_TIMEOUT = re.compile(r"Sandbox\.Timedout|Task timed out after")


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
    :param conf_overrides: which keys of the payload a run's conf may set: True for any, or their names.
    :param deferrable: invoke asynchronously and hold no worker slot meanwhile: a trigger follows the stream
        to its end marker. The handler must wear the decorator. The result comes with the end marker, up to
        ``contract.MAX_RESULT_BYTES``.
    :param aws_conn_id: Airflow connection; None for the credentials of the environment.
    :param region_name: AWS region; None for that of the connection or the environment.
    :param start_timeout: how long to try an invocation that Lambda throttles or that finds no connection;
        deferrable also how long the event may wait in Lambda's queue. In seconds.
    :param poll_seconds: pause between two looks at the stream; None for 0.25 s, deferrable 1 s.
    :param drain_seconds: how long to wait for late log events after the function has ended.
    :param fail_on_incomplete_relay: fail with RelayIncomplete when the function succeeded but log lines are
        missing; otherwise that is a warning.
    :param max_result_bytes: a longer result does not become the XCom; a warning says so.
    :raises custom.errors.LambdaError: one of its subclasses; each says what happened and what to do.
    """

    template_fields: Sequence[str] = ("function_name", "payload", "qualifier", "awslogs_group")
    template_fields_renderers = {"payload": "json"}  # noqa: RUF012 - the base class has it like this
    operator_extra_links = (LogStreamLink(),)

    def __init__(
        self,
        *,
        function_name: str,
        awslogs_group: str,
        qualifier: str | None = "$LATEST",
        payload: Mapping[str, Any] | str | None = None,
        conf_overrides: bool | Collection[str] = False,
        deferrable: bool = False,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        start_timeout: float = START_SECONDS,
        poll_seconds: float | None = None,
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
        self.conf_overrides = conf_overrides
        self.deferrable = deferrable
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.start_timeout = start_timeout
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
        """Invoke, relay, judge; or invoke and defer."""
        self._check_arguments()
        destination = self._destination(context)
        body = self._body(context)
        payload = encode_payload(body, destination)
        self.log.info(
            "Invoking %s (%s), payload of %d bytes with keys %s; log stream %s %s",
            self.function_name,
            self.qualifier or "unqualified",
            len(payload),
            sorted(body),
            destination.group_name,
            destination.stream_name,
        )
        if self.deferrable:
            self._invoke_and_defer(context, payload, destination)
        invoked_at = time.time()
        answer, settings, relay = self._invoke(context, payload, destination)
        tail_end = contract.find_end(answer.log_tail)
        relay.drain(self._drain_seconds(answer, relay, tail_end))
        if not relay.stream_exists():
            self._link_own_log(context, settings.log_group, answer.request_id, invoked_at)
        return self._conclude(answer, relay, tail_end, settings.log_group)

    def execute_complete(self, context: "Context", event: dict[str, Any], invocation: dict[str, Any]) -> Any:
        """Go on where the trigger has ended: show what has come since, judge.

        :param event: from :class:`custom.triggers.lambda_function.LambdaTrigger`.
        :param invocation: fields of an :class:`~custom.triggers.lambda_function.Invocation`.
        """
        from custom.triggers.lambda_function import Invocation

        told = Invocation(**invocation)
        relay = self._relay(told.group_name, told.stream_name, event["position"])
        if relay.follower.end is None:
            self._look_once_more(relay)
        answer = self._answer_of(told, event, relay)
        return self._conclude(answer, relay, None, told.log_group)

    def _look_once_more(self, relay: StreamRelay) -> None:
        """Read what has come since the trigger has ended; try again where that fails."""
        deadline = time.monotonic() + self.drain_seconds
        relay.copy_new()
        while relay.error and time.monotonic() < deadline:
            self._pause(relay.pause)
            relay.copy_new()
        relay.flush()

    def on_kill(self) -> None:
        """Make ``execute`` stop waiting."""
        # Airflow calls this from a signal handler inside execute's own loop: no lock may be taken here.
        self._kill_asked = True

    def _check_arguments(self) -> None:
        if not isinstance(self.function_name, str) or not FUNCTION_NAME.fullmatch(self.function_name):
            raise InvalidRequest(
                f"function_name {self.function_name!r:.200} is neither a Lambda function's name (1 to 64 "
                "letters, digits, - and _) nor its ARN without version"
            )
        if self.qualifier and not QUALIFIER.fullmatch(self.qualifier):
            raise InvalidRequest(f"qualifier {self.qualifier!r:.200} is neither a version nor an alias")
        try:
            contract.check_group_name(self.awslogs_group)
        except contract.ContractError as error:
            raise InvalidRequest(f"awslogs_group: {error}") from None
        if not isinstance(self.deferrable, bool):
            raise InvalidRequest(f"deferrable must be True or False, not {self.deferrable!r:.100}")
        # The letters of a text would pass for keys.
        if isinstance(self.conf_overrides, str) or not isinstance(self.conf_overrides, bool | Collection):
            raise InvalidRequest(
                f"conf_overrides must be True, False or a list of keys, not {self.conf_overrides!r:.100}"
            )
        if not isinstance(self.max_result_bytes, int) or self.max_result_bytes < 0:
            raise InvalidRequest(f"max_result_bytes must be a number, not {self.max_result_bytes!r:.100}")
        for name, least in (("start_timeout", 0), ("poll_seconds", 0.05), ("drain_seconds", 0)):
            value = getattr(self, name)
            if value is None and name == "poll_seconds":
                continue
            if not isinstance(value, int | float) or not least <= value <= MAX_FUNCTION_SECONDS:
                raise InvalidRequest(
                    f"{name} must be between {least} and {MAX_FUNCTION_SECONDS}, not {value!r:.100}"
                )

    def _destination(self, context: "Context") -> contract.Destination:
        ti = context["ti"]
        map_index = -1 if ti.map_index is None else ti.map_index
        key = contract.idempotency_key(ti.dag_id, ti.run_id, ti.task_id, map_index, ti.try_number)
        stream = contract.stream_name(datetime.now(UTC), self.qualifier, key, uuid.uuid4().hex)
        return contract.Destination(self.awslogs_group, stream, key, asynchronous=self.deferrable)

    def _body(self, context: "Context") -> dict[str, Any]:
        """Return the payload as the run's conf has changed it."""
        body = checked_payload(self.payload)
        conf = context["dag_run"].conf or {} if self.conf_overrides else {}
        if self.conf_overrides is not True:
            conf = {key: conf[key] for key in self.conf_overrides or () if key in conf}
        if conf:
            self.log.info("The run's conf sets the payload's keys %s", sorted(conf))
        return checked_payload({**body, **conf})

    def _link(self, context: "Context", group: str, stream: str, filter_pattern: str = "") -> None:
        """Put a link to a log stream on the task's page."""
        meta = self.hook.control_client.meta
        url = log_stream_url(
            meta.region_name, meta.partition, meta.endpoint_url, group, stream, filter_pattern=filter_pattern
        )
        LogStreamLink.persist(context, url)

    def _link_own_log(self, context: "Context", log_group: str, request_id: str, invoked_at: float) -> None:
        """Link the function's own log instead: it has written no other."""
        try:
            stream = self.hook.own_log(log_group, request_id, invoked_at).stream_name
        except Exception as error:
            # Not there yet, or not ours to read; the link then looks for the request.
            self.log.debug("The stream of request %s is not known: %s", request_id, error)
            stream = ""
        self.log.info("Own log of %s: %s %s", self.function_name, log_group, stream)
        self._link(context, log_group, stream, filter_pattern=f'"{request_id}"')

    def _poll_seconds(self) -> float:
        usual = DEFERRED_POLL_SECONDS if self.deferrable else POLL_SECONDS
        return usual if self.poll_seconds is None else self.poll_seconds

    def _relay(self, group: str, stream: str, position: dict[str, Any] | None = None) -> StreamRelay:
        reader = self.hook.stream_reader(group, stream)
        return StreamRelay(
            reader, task_log_writer(short_name(self.function_name)), self._poll_seconds(), position
        )

    def _invoke_and_defer(
        self, context: "Context", payload: bytes, destination: contract.Destination
    ) -> NoReturn:
        """Hand the event to Lambda, and the task to the triggerer."""
        from custom.triggers.lambda_function import Invocation, LambdaTrigger

        answer = self.hook.invoke_once(
            self.function_name,
            self.qualifier,
            payload,
            asynchronous=True,
            start_timeout=self.start_timeout,
            pause=self._pause,
        )
        invoked_at = time.time()
        try:
            self._link(context, destination.group_name, destination.stream_name)
            settings = self.hook.function_settings(self.function_name, self.qualifier)
        except BaseException:
            self.log.warning("%s: Lambda has taken the event, which cannot be recalled", self.function_name)
            raise
        invocation = Invocation(
            function_name=short_name(self.function_name),
            group_name=destination.group_name,
            stream_name=destination.stream_name,
            request_id=answer.request_id,
            log_group=settings.log_group,
            invoked_at=invoked_at,
            start_timeout=self.start_timeout,
            timeout=settings.timeout,
        )
        trigger = LambdaTrigger(
            invocation=asdict(invocation),
            poll_seconds=self._poll_seconds(),
            drain_seconds=self.drain_seconds,
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
        )
        bound = timedelta(seconds=invocation.deadline - invocation.invoked_at) + TRIGGERER_AWAY
        self.defer(
            trigger=trigger,
            method_name=self.execute_complete.__name__,
            kwargs={"invocation": asdict(invocation)},
            timeout=min(bound, self.execution_timeout or bound),
        )

    def _pause(self, seconds: float) -> None:
        """Sleep, unless the task is told to stop."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._kill_asked:
                raise LambdaAbandoned(f"the task for {self.function_name} was told to stop while it waited")
            time.sleep(min(left, POLL_SECONDS))

    def _answer_of(self, told: "Invocation", event: dict[str, Any], relay: StreamRelay) -> "Answer":
        """Put what the end marker says, or its absence, as Lambda would have answered.

        :raises LambdaOutcomeUnknown: nothing was heard of the function.
        """
        from custom.hooks.lambda_function import Answer
        from custom.triggers.lambda_function import ENDED, NOT_STARTED

        end = relay.follower.end
        if end is not None and end.status == contract.SUCCEEDED:
            return Answer(self._result_of(told, end), request_id=told.request_id)
        if end is not None:
            kind, _, message = end.error.partition(": ")
            error = {"errorType": kind.rpartition(".")[2] or kind, "errorMessage": message}
            return Answer(json.dumps(error).encode(), "Unhandled", request_id=told.request_id)
        where = f"request {told.request_id}, own log {told.log_group}"
        if relay.error:
            raise RelayIncomplete(
                f"{told.function_name} took the event, but its log stream {told.group_name} "
                f"{told.stream_name} cannot be read: {relay.error}. Whether it ran is unknown ({where})"
            )
        if event["outcome"] == NOT_STARTED and relay.stream_exists():
            raise LambdaOutcomeUnknown(
                f"{told.function_name} has begun so late that it was given up (start_timeout "
                f"{told.start_timeout:g} s). It may still run ({where})"
            )
        if event["outcome"] == NOT_STARTED or (event["outcome"] == ENDED and not relay.stream_exists()):
            waited = told.start_deadline - told.invoked_at
            seen = (
                f"has ended ({event['reason'] or 'no error is reported'})"
                if event["outcome"] == ENDED
                else f"was not heard of for {waited:g} s (start_timeout and a margin)"
            )
            raise LambdaOutcomeUnknown(
                f"{told.function_name} took the event and {seen}, but never made its log stream. Does its "
                "handler wear @airflow_relay.relay, as deferrable=True needs, and may it write to "
                f"{told.group_name}? Or does the event wait for concurrency? It may still run ({where})"
            )
        if event["outcome"] == ENDED:
            reason = event["reason"] or "Lambda reports no error"
            kind = "Sandbox.Timedout" if _TIMEOUT.search(reason) else "Runtime.ExitError"
        else:
            kind = "Sandbox.Timedout"
            reason = event["reason"] or f"not within {told.deadline - told.invoked_at:.0f} s"
        message = f"it left no end marker: {reason}"
        body = json.dumps({"errorType": kind, "errorMessage": message}).encode()
        return Answer(body, "Unhandled", request_id=told.request_id)

    def _result_of(self, told: "Invocation", end: contract.EndMarker) -> bytes:
        """Return the result, which the end marker in the stream holds."""
        if not end.result_bytes:
            return b""
        if end.result_bytes > contract.MAX_RESULT_BYTES:
            self.log.warning(
                "The result of %s, %d bytes, is over the %d that an end marker holds and is not kept: "
                "let the function put it into S3 and return the key",
                told.function_name,
                end.result_bytes,
                contract.MAX_RESULT_BYTES,
            )
            return b""
        if end.result is None:
            # The trigger's event goes without it.
            end = self._end_in_stream(told)
        return json.dumps(end.result).encode()

    def _end_in_stream(self, told: "Invocation") -> contract.EndMarker:
        """Read the end marker once more.

        :raises RelayIncomplete: when it cannot be read within ``drain_seconds``.
        """
        trouble: object = "it is not the stream's last event"
        deadline = time.monotonic() + self.drain_seconds
        while True:
            try:
                marker = contract.decode(self.hook.last_event(told.group_name, told.stream_name))
                if isinstance(marker, contract.EndMarker):
                    return marker
            except Exception as error:
                trouble = error
            if time.monotonic() >= deadline:
                raise RelayIncomplete(
                    f"{told.function_name} succeeded, but the end marker with its result cannot be read "
                    f"any more from {told.group_name} {told.stream_name}: {trouble}"
                )
            self._pause(self._poll_seconds())

    def _invoke(
        self, context: "Context", payload: bytes, destination: contract.Destination
    ) -> tuple["Answer", "FunctionSettings", StreamRelay]:
        """Invoke in a thread; copy the stream meanwhile, and do whatever else need not be done before."""
        from custom.hooks.lambda_function import ANSWER_MARGIN_SECONDS

        stop = threading.Event()
        requested_at = time.monotonic()
        may_run = False

        def pause(pause_seconds: float) -> None:
            nonlocal may_run
            may_run = False
            if stop.wait(pause_seconds):
                raise LambdaAbandoned("stopped before the function was started")

        def on_request() -> None:
            nonlocal may_run, requested_at
            may_run, requested_at = True, time.monotonic()

        # Made here: botocore cannot make two clients at once, and the other one is made below.
        _ = self.hook.lambda_client
        invocation = _in_background(
            lambda: self.hook.invoke_once(
                self.function_name,
                self.qualifier,
                payload,
                start_timeout=self.start_timeout,
                pause=pause,
                on_request=on_request,
            )
        )
        relay = self._relay(destination.group_name, destination.stream_name)
        try:
            settings = self.hook.function_settings(self.function_name, self.qualifier)
            self._link(context, destination.group_name, destination.stream_name)
            limit = settings.timeout + ANSWER_MARGIN_SECONDS
            while not self._is_done(invocation, relay.pause):
                if time.monotonic() > requested_at + limit:
                    raise self.hook.no_answer(self.function_name, self.qualifier)
                relay.copy_new()
        except BaseException:
            # Also Airflow's execution_timeout, which is raised into whatever runs.
            stop.set()
            if may_run:
                relay.copy_new()
                self.log.warning(
                    "%s goes on to its end: a synchronous invocation cannot be cancelled. "
                    "Its further lines are in the log stream only",
                    self.function_name,
                )
            raise
        relay.copy_new()
        return invocation.result(), settings, relay

    def _is_done(self, invocation: "Future[Answer]", seconds: float) -> bool:
        """Wait for so long at most; say whether the answer is there.

        :raises LambdaAbandoned: when the task is told to stop.
        """
        deadline = time.monotonic() + seconds
        while not invocation.done() and (left := deadline - time.monotonic()) > 0:
            if self._kill_asked:
                raise LambdaAbandoned(f"the task for {self.function_name} was told to stop while it waited")
            # Airflow kills a task that has not stopped 5 s after it was told to.
            wait([invocation], timeout=min(left, 1))
        return invocation.done()

    def _drain_seconds(
        self, answer: "Answer", relay: StreamRelay, tail_end: contract.EndMarker | None
    ) -> float:
        """Return how long an end marker is worth waiting for."""
        if tail_end is not None and not tail_end.lost:
            return self.drain_seconds
        if tail_end is not None or answer.function_error:
            return min(UNLIKELY_DRAIN_SECONDS, self.drain_seconds)
        return self.drain_seconds if relay.stream_exists() else 0

    def _conclude(
        self, answer: "Answer", relay: StreamRelay, tail_end: contract.EndMarker | None, log_group: str
    ) -> Any:
        """Show what the stream does not hold, judge, return the result."""
        self._show_rest(answer, relay, tail_end, log_group)
        self._judge(answer, relay.follower.end or tail_end, log_group)
        if self.fail_on_incomplete_relay and (gap := _gap(relay, tail_end)):
            raise RelayIncomplete(f"{self.function_name} succeeded, but {gap}")
        return self._result(answer)

    def _show_rest(
        self, answer: "Answer", relay: StreamRelay, tail_end: contract.EndMarker | None, log_group: str
    ) -> None:
        """Show what the stream does not hold: the log's tail, and the traceback, which comes last."""
        knows_relay = relay.stream_exists() or tail_end is not None
        if knows_relay and (gap := _gap(relay, tail_end)):
            self.log.warning("%s. The function's own log has all: %s", gap, log_group)
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
        write = task_log_writer(short_name(self.function_name))
        for text in texts:
            write(Line(level, text, int(time.time() * 1000)))

    def _judge(self, answer: "Answer", end: contract.EndMarker | None, log_group: str) -> None:
        """Raise if the function failed."""
        where = f"request {answer.request_id}, own log {log_group}"
        if answer.function_error:
            kind, message = _error(answer)
            failure = LambdaTimedOut if _TIMEOUT.search(f"{kind} {message}") else LambdaFunctionFailed
            raise failure(f"{self.function_name} failed: {kind}: {message} ({where})")
        if end is not None and end.status == contract.FAILED:
            # Something around the decorated handler has made a result of what that raised.
            raise LambdaFunctionFailed(
                f"{self.function_name} answered as if it had succeeded, "
                f"but its handler raised {sanitised(end.error)} ({where})"
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
        return answer.function_error, sanitised(str(error))
    kind = error.get("errorType", answer.function_error)
    return sanitised(str(kind)), sanitised(str(error.get("errorMessage", "")))


def _traceback(answer: "Answer") -> str:
    kind, message = _error(answer)
    error = answer.result()
    frames = error.get("stackTrace") if isinstance(error, dict) else None
    head = ["Traceback (most recent call last):", *map(str.rstrip, map(str, frames))] if frames else []
    return "\n".join([*head, f"{kind}: {message}"])
