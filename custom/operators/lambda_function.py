"""An operator that runs a Lambda function and shows its log lines in the task log as they come."""

import json
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator

from airflow_relay import contract, naming
from custom.arguments import check_arguments, short_name
from custom.call import Call
from custom.errors import LambdaAbandoned, RelayIncomplete
from custom.links.cloudwatch_logs import LogStreamLink, log_stream_url
from custom.outcome import Invocation, Outcome, answered, gap, show_rest, watched
from custom.payload import decode_payload, encode_payload, overridden
from custom.relay.following import UNLIKELY_DRAIN_SECONDS, StreamRelay
from custom.relay.writing import task_log_writer

# boto3 and the amazon provider take a second to import: only a running task pays for that, not the parser.
if TYPE_CHECKING:
    from airflow.sdk import Context

    from custom.hooks.lambda_function import Answer, FunctionSettings, LambdaFunctionHook

# A function waits 0.4 s before it sends a line. With this pause the line is in the task log within a second.
POLL_SECONDS = 0.25
# A triggerer follows many streams, and GetLogEvents has a quota of 10 to 25 a second for the account.
DEFERRED_POLL_SECONDS = 1.0
# CloudWatch may show events some seconds after it took them.
DRAIN_SECONDS = 10.0
# Several times as long as Lambda takes to scale out a function that is suddenly in demand.
START_SECONDS = 60
# An XCom lies in Airflow's metadata database.
MAX_RESULT_BYTES = 262_144
# How long a triggerer may be away before a deferred task fails because of it.
TRIGGERER_AWAY = timedelta(minutes=10)


class LambdaOperator(BaseOperator):
    """Run a Lambda function, show its log lines in the task log while it runs, return its result.

    One try of the task makes one invocation. If the function's handler is not decorated with
    ``@airflow_relay.relay``, the last 4 KB of its log are shown at the end. Lambda's answer and the stream's
    end marker say whether it failed, not the text of its lines. The lines have the logger
    ``lambda.<function>``, their own time and level. The payload is sent with the stream to write, and an
    idempotency key that names dag, run, task, map index and try.

    A function that is running cannot be cancelled: if the task is, the function goes on to its end.

    :param function_name: name or ARN, without version. (templated)
    :param awslogs_group: CloudWatch log group for the function's lines. The function makes it if it is
        missing. Each try writes a stream of its own. (templated)
    :param qualifier: version or alias; None or "" for none. (templated)
    :param payload: a JSON object, as a dict or as text. The keys ``group_name``, ``stream_name`` and
        ``airflow_relay`` are reserved. (templated)
    :param conf_overrides: which keys of the payload a run's conf may set: True for any, or their names.
    :param deferrable: invoke asynchronously and hold no worker slot meanwhile: a trigger follows the stream
        to its end marker. The handler must be decorated. The result may have ``contract.MAX_RESULT_BYTES``.
    :param aws_conn_id: Airflow connection; None for the credentials of the environment.
    :param region_name: AWS region; None for that of the connection or the environment.
    :param start_timeout: how many seconds to try an invocation that Lambda throttles or that finds no
        connection; if deferrable, also how long the event may wait in Lambda's queue.
    :param poll_seconds: pause between two looks at the stream; None for 0.25 s, if deferrable 1 s.
    :param drain_seconds: how long to wait for late log events after the function has ended.
    :param fail_on_incomplete_relay: fail with RelayIncomplete, and do not only warn, if the function
        succeeded but log lines are missing.
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
        """Keep the arguments; they are checked when the task runs."""
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
        check_arguments(self)
        destination = self._destination(context)
        conf = context["dag_run"].conf or {} if self.conf_overrides else {}
        body, changed = overridden(self.payload, conf, self.conf_overrides)
        if changed:
            self.log.info("The run's conf sets the payload's keys %s", changed)
        payload = encode_payload(body, destination)
        self.log.info(
            f"Invoking {self.function_name} ({self.qualifier or 'unqualified'}), payload of {len(payload)} "
            f"bytes with keys {sorted(body)}; log stream {destination.group_name} {destination.stream_name}"
        )
        if self.deferrable:
            self._invoke_and_defer(context, payload, destination)
        invoked_at = time.time()
        answer, settings, relay = self._invoke(context, payload, destination)
        tail_end = contract.find_end(answer.log_tail)
        seconds = self._drain_seconds(answer, relay, tail_end)
        relay.drain(seconds, self._pause, is_marked=tail_end is not None)
        if not relay.stream_exists():
            self._link_own_log(context, settings.log_group, answer.request_id, invoked_at)
        return self._conclude(answered(self.function_name, answer, settings.log_group), relay, tail_end)

    def execute_complete(self, context: "Context", event: dict[str, Any], invocation: dict[str, Any]) -> Any:
        """Go on where the trigger has ended: show what has come since, judge.

        :param event: from :class:`custom.triggers.lambda_function.LambdaTrigger`.
        :param invocation: fields of an :class:`~custom.outcome.Invocation`.
        """
        ended = Invocation(**invocation)
        relay = self._relay(ended.group_name, ended.stream_name, event["position"])
        if relay.follower.end is None:
            relay.look_again(self.drain_seconds, self._pause)
        outcome = watched(self.function_name, ended, event, relay)
        if relay.follower.end and not outcome.failure:
            outcome = replace(outcome, payload=self._result_in_stream(ended, relay.follower.end))
        return self._conclude(outcome, relay, None)

    def on_kill(self) -> None:
        """Make ``execute`` stop waiting."""
        # Airflow calls this from a signal handler inside execute's own loop, so it may take no lock.
        self._kill_asked = True

    def _destination(self, context: "Context") -> contract.Destination:
        ti = context["ti"]
        map_index = -1 if ti.map_index is None else ti.map_index
        key = naming.idempotency_key(ti.dag_id, ti.run_id, ti.task_id, map_index, ti.try_number)
        stream = naming.stream_name(datetime.now(UTC), self.qualifier, key, uuid.uuid4().hex)
        return contract.Destination(self.awslogs_group, stream, key, asynchronous=self.deferrable)

    def _link(self, context: "Context", group: str, stream: str, filter_pattern: str = "") -> None:
        """Show a link on the task's page from now on."""
        try:
            meta = self.hook.logs_client.meta
        except Exception as error:
            # An endpoint that is no URL, for example: whether the log can be read decides nothing.
            self.log.warning("The log stream cannot be linked: %s", error)
            return
        where = (meta.region_name, meta.partition, meta.endpoint_url)
        LogStreamLink.persist(context, log_stream_url(*where, group, stream, filter_pattern=filter_pattern))

    def _link_own_log(self, context: "Context", log_group: str, request_id: str, invoked_at: float) -> None:
        try:
            stream = self.hook.own_log(log_group, request_id, invoked_at).stream_name
        except Exception as error:
            # Not there yet, or not ours to read; the link then looks for the request.
            self.log.debug("The stream of request %s is not known: %s", request_id, error)
            stream = ""
        self.log.info("Own log of %s: %s %s", self.function_name, log_group, stream)
        self._link(context, log_group, stream, f'"{request_id}"')

    def _poll_seconds(self) -> float:
        usual = DEFERRED_POLL_SECONDS if self.deferrable else POLL_SECONDS
        return usual if self.poll_seconds is None else self.poll_seconds

    def _relay(self, group: str, stream: str, position: dict[str, Any] | None = None) -> StreamRelay:
        write = task_log_writer(short_name(self.function_name))
        return StreamRelay(self.hook.stream_reader(group, stream), write, self._poll_seconds(), position)

    def _invoke_and_defer(
        self, context: "Context", payload: bytes, destination: contract.Destination
    ) -> NoReturn:
        """Hand the event to Lambda, and the task to the triggerer."""
        from custom.triggers.lambda_function import LambdaTrigger

        target = (self.function_name, self.qualifier)
        answer = self.hook.invoke_once(
            *target, payload, asynchronous=True, start_timeout=self.start_timeout, pause=self._pause
        )
        invoked_at = time.time()
        try:
            self._link(context, destination.group_name, destination.stream_name)
            settings = self.hook.function_settings(*target)
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
        """Sleep, unless the task is asked to stop."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._check_kill()
            time.sleep(min(left, POLL_SECONDS))

    def _result_in_stream(self, ended: Invocation, end: contract.EndMarker) -> bytes:
        """Return the result from the end marker in the stream: the trigger's event has none."""
        if not end.result_bytes:
            return b""
        if end.result_bytes > contract.MAX_RESULT_BYTES:
            self._warn_of_length(
                end.result_bytes, f"the {contract.MAX_RESULT_BYTES} that an end marker holds"
            )
            return b""
        trouble: object = "it is not the stream's last event"
        deadline = time.monotonic() + self.drain_seconds
        while end.result is None:
            try:
                marker = contract.decode(self.hook.last_event(ended.group_name, ended.stream_name))
                if isinstance(marker, contract.EndMarker):
                    end = marker
                    break
            except Exception as error:
                trouble = error
            if time.monotonic() >= deadline:
                raise RelayIncomplete(
                    f"{ended.function_name} succeeded, but the end marker with its result cannot be read "
                    f"any more from {ended.group_name} {ended.stream_name}: {trouble}"
                )
            self._pause(self._poll_seconds())
        return json.dumps(end.result).encode()

    def _invoke(
        self, context: "Context", payload: bytes, destination: contract.Destination
    ) -> tuple["Answer", "FunctionSettings", StreamRelay]:
        """Invoke in a thread, and copy the stream meanwhile."""
        from custom.hooks.lambda_function import ANSWER_MARGIN_SECONDS

        # Made here: botocore cannot make two clients at once, and the other one is made below.
        _ = self.hook.lambda_client
        target = (self.function_name, self.qualifier)
        call = Call(self.hook.invoke_once, *target, payload, start_timeout=self.start_timeout)
        relay = self._relay(destination.group_name, destination.stream_name)
        try:
            settings = self.hook.function_settings(*target)
            self._link(context, destination.group_name, destination.stream_name)
            limit = settings.timeout + ANSWER_MARGIN_SECONDS
            while not call.is_done(relay.pause, self._check_kill):
                if time.monotonic() > call.requested_at + limit:
                    raise self.hook.no_answer(*target)
                relay.copy_new()
        except BaseException:
            # Also Airflow's execution_timeout, which is raised into whatever runs.
            call.abandon()
            if call.may_run:
                relay.copy_new()
                self.log.warning(
                    f"{self.function_name} goes on to its end: a synchronous invocation cannot be cancelled. "
                    "Its further lines are in the log stream only"
                )
            raise
        relay.copy_new()
        return call.answer.result(), settings, relay

    def _check_kill(self) -> None:
        if self._kill_asked:
            raise LambdaAbandoned(f"the task for {self.function_name} was asked to stop while it waited")

    def _drain_seconds(
        self, answer: "Answer", relay: StreamRelay, tail_end: contract.EndMarker | None
    ) -> float:
        """Return how long an end marker is worth waiting for."""
        if tail_end is not None and not tail_end.lost:
            return self.drain_seconds
        if tail_end is not None or answer.function_error:
            return min(UNLIKELY_DRAIN_SECONDS, self.drain_seconds)
        return self.drain_seconds if relay.stream_exists() else 0

    def _conclude(self, outcome: Outcome, relay: StreamRelay, tail_end: contract.EndMarker | None) -> Any:
        """Show what the stream does not hold, judge, return the result."""
        show_rest(outcome, relay, tail_end, self.log)
        outcome.judge(relay.follower.end or tail_end)
        if self.fail_on_incomplete_relay and (missing := gap(relay, tail_end)):
            raise RelayIncomplete(f"{self.function_name} succeeded, but {missing}")
        if len(outcome.payload) > self.max_result_bytes:
            self._warn_of_length(len(outcome.payload), f"the limit of {self.max_result_bytes}")
            return None
        return decode_payload(outcome.payload)

    def _warn_of_length(self, length: int, limit: str) -> None:
        self.log.warning(
            f"The result of {self.function_name}, {length} bytes, is over {limit} and is not kept: "
            "let the function put it into S3 and return the key"
        )
