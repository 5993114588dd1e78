"""Invoking a Lambda function once, and reading the log stream it writes meanwhile."""

import base64
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from airflow.providers.amazon.aws.hooks.lambda_function import LambdaHook
from airflow.sdk.exceptions import AirflowNotFoundException
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
)
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from airflow_relay import contract
from custom import errors
from custom.arguments import MAX_FUNCTION_SECONDS, short_name
from custom.relay.following import Reader

# The answer needs this much longer than the function: cold start, network, and Lambda's own bookkeeping.
ANSWER_MARGIN_SECONDS = 30
CLOCK_SKEW_SECONDS = 60
# An invocation that did not start is tried again, with pauses drawn from 0 to a bound that doubles.
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15

# Reading a log stream is repeated anyway, and a killed task has only 5 seconds for its last look at it.
_READING = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1})

# Lambda's own lines. What the function has printed does not match.
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html
_PLATFORM_LINE = re.compile(
    r'REPORT RequestId: |RequestId: \S+ Error: |\S+Z \S+ Task timed out after |\{.*"type":\s*"platform\.'
)
# What they say if an invocation ends in another way than by returning or raising.
_END_REASON = re.compile(
    r"Task timed out after [\d.]+ seconds|Runtime exited[^\n]*|Status: (?:timeout|error)[^\n]*"
    r'|"status":\s*"(?:timeout|error)"|"errorType":\s*"[\w.]+"'
)

_NOT_FOUND = "ResourceNotFoundException"
# Refusals before the function ran. The last one comes while its code or settings are being changed.
_NOT_STARTED = frozenset({"TooManyRequestsException", "EC2ThrottledException", "ResourceConflictException"})
_SERVER_ERROR_STATUS = 500
# botocore itself has stopped at these.
_NOT_SENT = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, ParamValidationError)
# No connection came about, so no request was sent.
_NOT_CONNECTED = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)


@dataclass(frozen=True)
class FunctionSettings:
    """What a call has to know of a function.

    :param timeout: how many seconds Lambda lets it run.
    :param log_group: where Lambda puts the function's own log.
    """

    timeout: int
    log_group: str


@dataclass(frozen=True)
class OwnLog:
    """What a function's own log says of one invocation.

    :param stream_name: empty while nothing is there.
    :param ended: whether Lambda has reported the end.
    :param reason: why it ended, if not by returning or raising.
    """

    stream_name: str = ""
    ended: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Answer:
    """What Lambda answered to one invocation.

    :param payload: what the function returned, or the error object; empty for an asynchronous call.
    :param function_error: empty when the function returned.
    :param log_tail: the last 4 KB of the function's own log.
    """

    payload: bytes
    function_error: str = ""
    log_tail: str = ""
    request_id: str = ""


class LambdaFunctionHook(LambdaHook):
    """Invokes a function with one request for one run of it, and reads log streams as they grow."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take the provider's arguments; raise ConnectionMissing for an empty ``aws_conn_id``."""
        super().__init__(*args, **kwargs)
        self._session: Any = None
        if self.aws_conn_id == "":  # which the provider takes for None
            raise _connection_missing("")

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """Return an Airflow connection; raise ConnectionMissing if there is none of this name."""
        try:
            return super().get_connection(conn_id)
        except AirflowNotFoundException:
            raise _connection_missing(conn_id) from None

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> Any:
        """Return the session, made once: a client takes 80 ms in a new one, 5 to 15 ms in an old one."""
        if self._session is None or deferrable:
            self._session = super().get_session(region_name=region_name, deferrable=deferrable)
        return self._session

    def place(self) -> str:
        """Say where functions are looked for, for error messages."""
        meta = self.control_client.meta
        return f"region {meta.region_name}, endpoint {meta.endpoint_url}"

    @cached_property
    def lambda_client(self) -> Any:
        """Return the client for calls that wait for the function, for any thread."""
        return self._lambda_client(MAX_FUNCTION_SECONDS + ANSWER_MARGIN_SECONDS)

    @cached_property
    def control_client(self) -> Any:
        """Return the client for calls that Lambda answers at once, for any thread."""
        return self._lambda_client(read_timeout=10)

    def _lambda_client(self, read_timeout: int) -> Any:
        config = Config(
            # botocore would send a request again that was not answered in time: up to five runs.
            retries={"total_max_attempts": 1},
            connect_timeout=5,
            read_timeout=read_timeout,
            # NAT gateways drop a connection on which nothing was sent for 350 s.
            tcp_keepalive=True,
        )
        return self.get_client_type(region_name=self.region_name, config=self.config.merge(config))

    def function_settings(self, function_name: str, qualifier: str | None) -> FunctionSettings:
        """Return the settings, or the longest timeout and the usual log group if they cannot be read."""
        try:
            settings = self.control_client.get_function_configuration(**_target(function_name, qualifier))
        except (ClientError, BotoCoreError) as error:
            if _code(error) != _NOT_FOUND:  # the invocation says that itself
                self.log.warning("The settings of %s cannot be read: %s", function_name, error)
            settings = {}
        log_group = settings.get("LoggingConfig", {}).get("LogGroup")
        timeout = int(settings.get("Timeout", MAX_FUNCTION_SECONDS))
        return FunctionSettings(timeout, log_group or f"/aws/lambda/{short_name(function_name)}")

    def invoke_once(
        self,
        function_name: str,
        qualifier: str | None,
        payload: bytes,
        *,
        start_timeout: float,
        asynchronous: bool = False,
        pause: Callable[[float], None] = time.sleep,
        on_request: Callable[[], None] = lambda: None,
    ) -> Answer:
        """Run the function and wait for its answer, or only hand the event to Lambda.

        Only a request that certainly did not run the function (throttled, no connection) is sent again.

        :param start_timeout: for how many seconds requests are sent again.
        :param asynchronous: do not wait; the answer has a request id and nothing else.
        :param pause: sleeps for so many seconds between two requests.
        :raises LambdaError: one of its subclasses, by what to do next.
        """
        attempts = Retrying(
            retry=retry_if_exception(_did_not_run),
            before=lambda _: on_request(),
            wait=_pause_seconds,
            stop=stop_after_delay(start_timeout),
            sleep=pause,
            reraise=True,
        )
        kind = {"InvocationType": "Event"} if asynchronous else {"LogType": "Tail"}
        client = self.control_client if asynchronous else self.lambda_client
        try:
            answer = attempts(client.invoke, **_target(function_name, qualifier), Payload=payload, **kind)
            body = answer["Payload"].read()
        except (ClientError, BotoCoreError) as error:
            raise self._explained(error, _named(function_name, qualifier), start_timeout) from error
        request_id = answer["ResponseMetadata"].get("RequestId", "")
        log_tail = self._decoded(answer.get("LogResult", ""))
        return Answer(body, answer.get("FunctionError", ""), log_tail, request_id)

    def no_answer(self, function_name: str, qualifier: str | None) -> errors.LambdaError:
        """Return the error for an answer that has not come in the function's time."""
        return errors.LambdaTimedOut(
            f"no answer from {_named(function_name, qualifier)} within its timeout and "
            f"{ANSWER_MARGIN_SECONDS} s, {self.place()}. It may still be running and was not invoked again"
        )

    @cached_property
    def logs_client(self) -> Any:
        """Return the client for CloudWatch Logs, for any thread. botocore cannot make two clients at once."""
        return self.get_session(region_name=self.region_name).client(
            "logs",
            endpoint_url=self.conn_config.get_service_endpoint_url(service_name="logs"),
            config=self._get_config(self.config.merge(_READING)),
            verify=self.verify,
        )

    def stream_reader(self, group: str, stream: str) -> Reader:
        """Return what reads a log stream piece by piece. The provider's reader stops at three empty pages.

        :return: takes a token (None for the start) and returns the events after it, oldest first, and the
            next token; no events and None while the stream does not exist yet. It raises what botocore does.
        """

        def read(token: str | None) -> tuple[list[dict[str, Any]], str | None]:
            events: list[dict[str, Any]] = []
            where = {"logGroupName": group, "logStreamName": stream}
            while True:
                position = {"nextToken": token} if token else {}
                try:
                    page = self.logs_client.get_log_events(**where, startFromHead=True, **position)
                except (ClientError, BotoCoreError) as error:
                    does_not_exist_yet = token is None and _code(error) == _NOT_FOUND
                    if events or does_not_exist_yet:  # the next call goes on from here
                        return events, token
                    raise
                events += page["events"]
                # "If you have reached the end of the stream, it returns the same token you passed in."
                # Pages before the end may be empty. Nothing comes after an end marker.
                before, token = token, page["nextForwardToken"]
                last = contract.decode(events[-1]["message"]) if events else None
                if token == before or isinstance(last, contract.EndMarker):
                    return events, token

        return read

    def last_event(self, group: str, stream: str) -> str:
        """Return the message of a stream's last event; raises what botocore does."""
        where = {"logGroupName": group, "logStreamName": stream}
        page = self.logs_client.get_log_events(**where, startFromHead=False, limit=1)
        return str(page["events"][-1]["message"]) if page["events"] else ""

    def own_log(self, log_group: str, request_id: str, since: float) -> OwnLog:
        """Return what a function's own log says of an invocation; raises what botocore does.

        :param since: when it was invoked, in seconds since the epoch.
        """
        stream, ended, reasons = "", False, []
        pages = self.logs_client.get_paginator("filter_log_events").paginate(
            logGroupName=log_group,
            filterPattern=f'"{request_id}"',
            # The worker's clock may be ahead of Lambda's.
            startTime=int((since - CLOCK_SKEW_SECONDS) * 1000),
        )
        for event in (event for page in pages for event in page["events"]):
            message = event["message"].strip()
            if request_id not in message:  # emulators are lax about patterns
                continue
            stream = event["logStreamName"]
            if _PLATFORM_LINE.match(message):
                ended = ended or message.startswith("REPORT") or '"platform.report"' in message
                reasons += [match[0] for match in _END_REASON.finditer(message)]
        return OwnLog(stream, ended, "; ".join(dict.fromkeys(reasons)))

    def _decoded(self, log_result: str) -> str:
        try:
            return base64.b64decode(log_result, validate=True).decode("utf-8", errors="replace")
        except ValueError:
            self.log.debug("Lambda's log tail is not base64; left out")
            return ""

    def _explained(
        self, error: ClientError | BotoCoreError, name: str, start_timeout: float
    ) -> errors.LambdaError:
        what = f"{type(error).__name__}: {error}"
        if isinstance(error, _NOT_SENT):
            return errors.LambdaError(f"no request was sent for {name}: {what}")
        place = self.place()
        if _code(error) == _NOT_FOUND:
            return errors.LambdaNotFound(
                f"no Lambda function {name} in {place}: deploy it, or correct the name"
            )
        if _code(error) in _NOT_STARTED:
            return errors.LambdaThrottled(
                f"{name} was not started within {start_timeout:g} s in {place}: {what}. "
                "Raise its concurrency or run fewer tasks at once (pool, max_active_tis_per_dag)"
            )
        if isinstance(error, _NOT_CONNECTED):
            return errors.LambdaUnreachable(f"{name} was not started, {place} takes no connection: {what}")
        status = error.response["ResponseMetadata"]["HTTPStatusCode"] if _code(error) else 0
        if 0 < status < _SERVER_ERROR_STATUS:
            return errors.LambdaError(f"Lambda refused the request for {name} in {place}: {what}")
        return errors.LambdaOutcomeUnknown(
            f"{place} gave no answer while {name} was being invoked: {what}. "
            "Whether it ran is unknown; it was not invoked again"
        )


def _connection_missing(conn_id: str) -> errors.ConnectionMissing:
    return errors.ConnectionMissing(
        f"there is no Airflow connection {conn_id!r}: create it, or pass aws_conn_id=None "
        "to use the credentials of the environment"
    )


def _named(function_name: str, qualifier: str | None) -> str:
    return f"{function_name} ({qualifier})" if qualifier else function_name


def _target(function_name: str, qualifier: str | None) -> dict[str, str]:
    return {"FunctionName": function_name, **({"Qualifier": qualifier} if qualifier else {})}


def _code(error: BaseException) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


def _did_not_run(error: BaseException) -> bool:
    return isinstance(error, _NOT_CONNECTED) or _code(error) in _NOT_STARTED


def _pause_seconds(state: RetryCallState) -> float:
    """Draw a pause of at least the length that Lambda asks for (``retryAfterSeconds``)."""
    drawn = wait_random_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS)(state)
    error = state.outcome.exception() if state.outcome else None
    asked = error.response.get("retryAfterSeconds", 0) if isinstance(error, ClientError) else 0
    return max(drawn, min(float(asked), LONGEST_PAUSE_SECONDS))
