"""Invoking a Lambda function once, and reading the log stream it writes meanwhile."""

import base64
import binascii
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow.providers.amazon.aws.hooks.lambda_function import LambdaHook
from airflow.sdk.exceptions import AirflowNotFoundException
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
    ReadTimeoutError,
)
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from custom.errors import (
    ConnectionMissing,
    LambdaError,
    LambdaNotFound,
    LambdaOutcomeUnknown,
    LambdaThrottled,
    LambdaTimedOut,
    LambdaUnreachable,
)
from custom.utils.log_relay import Reader

# Lambda quotas: a function runs for 15 minutes at most.
MAX_FUNCTION_SECONDS = 900
# The answer needs this much longer than the function: cold start, network, and Lambda's own bookkeeping.
ANSWER_MARGIN_SECONDS = 30
CONNECT_TIMEOUT_SECONDS = 5
# For so long an invocation that did not start is tried again, with pauses drawn from 0 to a bound that
# doubles from FIRST to LONGEST.
START_SECONDS = 60
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15

# Reading a log stream is repeated anyway, and a killed task has but 5 seconds for its last look at it.
_READING = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1})

_NOT_FOUND = "ResourceNotFoundException"
_DENIED = "AccessDeniedException"
# Refusals before the function ran. The last one: its code or settings are just being changed.
_NOT_STARTED = frozenset({"TooManyRequestsException", "EC2ThrottledException", "ResourceConflictException"})
# No connection came about, so no request was sent.
_NOT_CONNECTED = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)


@dataclass(frozen=True)
class Answer:
    """What Lambda answered to one invocation.

    :param payload: what the function returned, or the error object.
    :param function_error: empty when the function returned.
    :param log_tail: the last 4 KB of the function's own log.
    """

    payload: bytes
    function_error: str = ""
    log_tail: str = ""
    request_id: str = ""

    def result(self) -> Any:
        """Return the payload decoded: from JSON, else as text, None when empty."""
        text = self.payload.decode("utf-8", errors="replace")
        try:
            return json.loads(text) if text.strip() else None
        except ValueError:
            return text


class LambdaFunctionHook(LambdaHook):
    """Invokes a function with one request for one run of it, and reads log streams as they grow.

    :param args: as for the provider's hook: ``aws_conn_id``, ``region_name``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Connect to nothing yet."""
        super().__init__(*args, **kwargs)
        self._session: Any = None

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """Return an Airflow connection.

        :raises ConnectionMissing: where the provider would go on with whatever credentials boto3 finds.
        """
        try:
            return super().get_connection(conn_id)
        except AirflowNotFoundException:
            raise ConnectionMissing(
                f"there is no Airflow connection {conn_id!r}: create it, or pass aws_conn_id=None "
                "to use the credentials of the environment"
            ) from None

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> Any:
        """Return the session, made once: a client takes 80 ms in a new one, 5 to 15 ms in this."""
        if self._session is None or deferrable:
            self._session = super().get_session(region_name=region_name, deferrable=deferrable)
        return self._session

    def place(self) -> str:
        """Say where functions are looked for, for error messages."""
        meta = self.conn_client_meta
        return f"region {meta.region_name}, endpoint {meta.endpoint_url}"

    def function_timeout(self, function_name: str, qualifier: str | None) -> int:
        """Return the function's timeout in seconds.

        Where reading settings is not permitted, that is the longest a function may have.

        :raises LambdaNotFound: there is no such function, version or alias.
        """
        client: Any = self.conn
        try:
            settings = client.get_function_configuration(**_target(function_name, qualifier))
        except ClientError as error:
            if _code(error) == _DENIED:
                self.log.warning("May not read the settings of %s: %s", function_name, error)
                return MAX_FUNCTION_SECONDS
            raise self._explained(error, function_name, qualifier) from error
        except BotoCoreError as error:
            raise self._explained(error, function_name, qualifier) from error
        return int(settings["Timeout"])

    def invoke_once(
        self,
        function_name: str,
        qualifier: str | None,
        payload: bytes,
        function_seconds: int,
        pause: Callable[[float], None] = time.sleep,
    ) -> Answer:
        """Run the function and wait for its answer.

        botocore would send a request again that was not answered in time, and so run the function up to five
        times; that is switched off. Only a request that proves not to have run the function (throttled, no
        connection) is sent again, for ``START_SECONDS``.

        :param function_seconds: the function's timeout; the answer is awaited a margin longer.
        :param pause: sleeps between two requests, for so many seconds.
        :raises LambdaError: one of its subclasses, by what is to be done next.
        """
        client: Any = self.get_client_type(
            region_name=self.region_name,
            config=self.config.merge(
                Config(
                    retries={"total_max_attempts": 1},
                    connect_timeout=CONNECT_TIMEOUT_SECONDS,
                    read_timeout=function_seconds + ANSWER_MARGIN_SECONDS,
                    # NAT gateways drop a connection on which nothing was sent for 350 s.
                    tcp_keepalive=True,
                )
            ),
        )
        attempts = Retrying(
            retry=retry_if_exception(_did_not_run),
            wait=_pause_seconds,
            stop=stop_after_delay(START_SECONDS),
            sleep=pause,
            reraise=True,
        )
        try:
            answer = attempts(
                client.invoke, **_target(function_name, qualifier), Payload=payload, LogType="Tail"
            )
            body = answer["Payload"].read()
        except (ClientError, BotoCoreError) as error:
            raise self._explained(error, function_name, qualifier) from error
        return Answer(
            payload=body,
            function_error=answer.get("FunctionError", ""),
            log_tail=self._decoded(answer.get("LogResult", "")),
            request_id=answer["ResponseMetadata"].get("RequestId", ""),
        )

    def stream_reader(self, group: str, stream: str) -> Reader:
        """Return what reads a log stream piece by piece.

        The provider's reader gives up after three empty pages, and may so miss what comes later. This one
        leaves it to its caller, who knows the end marker, when to stop. Makes the client right away:
        botocore cannot make two at once in different threads.

        :return: takes a token (None for the start) and returns the events after it, oldest first, and the
            next token; no events and the token given while the stream does not exist.
        """
        client = self.get_session(region_name=self.region_name).client(
            "logs",
            endpoint_url=self.conn_config.get_service_endpoint_url(service_name="logs"),
            config=self._get_config(self.config.merge(_READING)),
            verify=self.verify,
        )

        def read(token: str | None) -> tuple[list[dict[str, Any]], str | None]:
            events: list[dict[str, Any]] = []
            while True:
                position = {"nextToken": token} if token else {}
                try:
                    page = client.get_log_events(
                        logGroupName=group, logStreamName=stream, startFromHead=True, **position
                    )
                except client.exceptions.ResourceNotFoundException:
                    return events, token
                events += page["events"]
                # "If you have reached the end of the stream, it returns the same token you passed in."
                # Pages before the end may be empty.
                if page["nextForwardToken"] == token:
                    return events, token
                token = page["nextForwardToken"]

        return read

    def _decoded(self, log_result: str) -> str:
        try:
            return base64.b64decode(log_result, validate=True).decode("utf-8", errors="replace")
        except (binascii.Error, ValueError):
            self.log.debug("Lambda's log tail is not base64; left out")
            return ""

    def _explained(
        self, error: ClientError | BotoCoreError, function_name: str, qualifier: str | None
    ) -> LambdaError:
        name = f"{function_name} ({qualifier})" if qualifier else function_name
        what = f"{type(error).__name__}: {error}"
        if _code(error) == _NOT_FOUND:
            return LambdaNotFound(
                f"no Lambda function {name} in {self.place()}: deploy it, or correct the name"
            )
        if _code(error) in _NOT_STARTED:
            return LambdaThrottled(
                f"{name} was not started within {START_SECONDS} s in {self.place()}: {what}. "
                "Raise its concurrency or run fewer tasks at once (pool, max_active_tis_per_dag)"
            )
        if isinstance(error, _NOT_CONNECTED):
            return LambdaUnreachable(f"{name} was not started, {self.place()} takes no connection: {what}")
        if isinstance(error, ReadTimeoutError):
            return LambdaTimedOut(
                f"no answer from {name} within its timeout and {ANSWER_MARGIN_SECONDS} s, {self.place()}. "
                "It may still be running and was not invoked again"
            )
        if isinstance(error, ClientError):
            return LambdaError(f"Lambda refused the request for {name} in {self.place()}: {what}")
        return LambdaOutcomeUnknown(
            f"the connection to {self.place()} broke while {name} was being invoked: {what}. "
            "Whether it ran is unknown; it was not invoked again"
        )


def _target(function_name: str, qualifier: str | None) -> dict[str, str]:
    return {"FunctionName": function_name, **({"Qualifier": qualifier} if qualifier else {})}


def _code(error: BaseException) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


def _did_not_run(error: BaseException) -> bool:
    return isinstance(error, _NOT_CONNECTED) or _code(error) in _NOT_STARTED


def _pause_seconds(state: RetryCallState) -> float:
    """Draw a pause; at least as long as Lambda asks for (``retryAfterSeconds``)."""
    drawn = wait_random_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS)(state)
    error = state.outcome.exception() if state.outcome else None
    asked = error.response.get("retryAfterSeconds", 0) if isinstance(error, ClientError) else 0
    return max(drawn, min(float(asked), LONGEST_PAUSE_SECONDS))
