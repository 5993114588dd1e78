"""One request for one run, and what each failure means.

The real botocore client is used; answers are given at the point where it would send, so that its own
retries, parsing and errors take part. No socket is opened.
"""

import base64
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from airflow.sdk.exceptions import AirflowNotFoundException
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)

from airflow_relay import contract
from custom import errors
from custom.hooks import lambda_function
from custom.hooks.lambda_function import Answer, FunctionSettings, LambdaFunctionHook

URL = "https://lambda.ap-southeast-2.amazonaws.com"


class Service:
    """AWS, as seen by one session: takes requests, answers from a script; the last answer is repeated."""

    def __init__(self) -> None:
        self.requests: list[AWSRequest] = []
        self.script: list[Any] = []

    def __call__(self, request: AWSRequest, **_: Any) -> AWSResponse:
        self.requests.append(request)
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Body:
    """The part of a response that botocore reads from a socket."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, *_: Any) -> bytes:
        content, self.content = self.content, b""
        return content

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self.read()


def response(status: int, body: bytes = b"{}", **headers: str) -> AWSResponse:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return AWSResponse(URL, status, headers, Body(body))


def refusal(status: int, code: str, **headers: str) -> AWSResponse:
    # Lambda names the error in a header, CloudWatch Logs in the body.
    body = json.dumps({"__type": code, "message": "so it is"}).encode()
    return response(status, body, x_amzn_errortype=code, **headers)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Service:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "test")
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"):
        monkeypatch.delenv(name, raising=False)
    return Service()


@pytest.fixture
def hook(aws: Service, monkeypatch: pytest.MonkeyPatch) -> LambdaFunctionHook:
    made = LambdaFunctionHook(aws_conn_id=None, region_name="ap-southeast-2")
    session = boto3.session.Session(region_name="ap-southeast-2")
    session.events.register("before-send", aws)
    monkeypatch.setattr(made, "_session", session)
    return made


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def invoke(hook: LambdaFunctionHook, pauses: list[float]) -> Callable[..., Answer]:
    def invoke(start_timeout: float = 60) -> Answer:
        return hook.invoke_once("f", "$LATEST", b'{"n": 1}', start_timeout=start_timeout, pause=pauses.append)

    return invoke


def test_request_and_answer(aws: Service, invoke: Callable[..., Answer]) -> None:
    tail = base64.b64encode("END ü".encode()).decode()
    aws.script = [response(200, b'{"lines": 3}', X_Amz_Log_Result=tail, x_amzn_RequestId="request-1")]

    answer = invoke()

    assert answer == Answer(b'{"lines": 3}', "", "END ü", "request-1")
    (request,) = aws.requests
    assert request.url == f"{URL}/2015-03-31/functions/f/invocations?Qualifier=%24LATEST"
    assert request.body == b'{"n": 1}'
    assert request.headers["X-Amz-Log-Type"] == b"Tail"


def test_function_error_is_part_of_the_answer(aws: Service, invoke: Callable[..., Answer]) -> None:
    aws.script = [response(200, b'{"errorType": "E"}', X_Amz_Function_Error="Unhandled")]

    assert invoke().function_error == "Unhandled"


@pytest.mark.bad_input(25)
def test_log_tail_that_is_not_base64_is_left_out_with_a_debug_note(
    hook: LambdaFunctionHook, aws: Service, invoke: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(hook.log, "debug", notes.append)
    aws.script = [response(200, b"1", X_Amz_Log_Result="*not base64*")]

    assert invoke().log_tail == ""
    assert notes == ["Lambda's log tail is not base64; left out"]


@pytest.mark.bad_input(28)
def test_log_tail_cut_within_a_character_is_shown(aws: Service, invoke: Callable[..., Answer]) -> None:
    tail = base64.b64encode("ünlucky".encode()[1:]).decode()
    aws.script = [response(200, b"1", X_Amz_Log_Result=tail)]

    assert invoke().log_tail == "\ufffdnlucky"


def test_client_waits_for_the_longest_function_and_a_margin(
    hook: LambdaFunctionHook, aws: Service, invoke: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = []
    make = hook.get_client_type

    def get_client_type(**arguments: Any) -> Any:
        configs.append(arguments["config"])
        return make(**arguments)

    monkeypatch.setattr(hook, "get_client_type", get_client_type)
    aws.script = [response(200)]
    invoke()

    (config,) = configs
    assert config.read_timeout == 930
    assert config.tcp_keepalive
    assert config.retries["total_max_attempts"] == 1


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (ReadTimeoutError(endpoint_url=URL), errors.LambdaOutcomeUnknown),
        (ConnectionClosedError(endpoint_url=URL), errors.LambdaOutcomeUnknown),
        (refusal(500, "ServiceException"), errors.LambdaOutcomeUnknown),
        (refusal(502, "EC2UnexpectedException"), errors.LambdaOutcomeUnknown),
        (refusal(403, "AccessDeniedException"), errors.LambdaError),
        (refusal(413, "RequestTooLargeException"), errors.LambdaError),
        (refusal(404, "ResourceNotFoundException"), errors.LambdaNotFound),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_one_request_where_the_function_may_have_run_or_never_will(
    aws: Service,
    invoke: Callable[..., Answer],
    pauses: list[float],
    failure: Any,
    raised: type[errors.LambdaError],
) -> None:
    aws.script = [failure]

    with pytest.raises(raised) as caught:
        invoke()

    assert type(caught.value) is raised
    assert len(aws.requests) == 1
    assert pauses == []
    assert URL in str(caught.value)
    assert "f ($LATEST)" in str(caught.value)


@pytest.mark.parametrize(
    "failure",
    [
        refusal(429, "TooManyRequestsException"),
        refusal(502, "EC2ThrottledException"),
        refusal(409, "ResourceConflictException"),
        EndpointConnectionError(endpoint_url=URL),
        ConnectTimeoutError(endpoint_url=URL),
    ],
    ids=["throttled", "ec2 throttled", "being updated", "refused", "no connection"],
)
def test_what_did_not_start_is_tried_again(
    aws: Service, invoke: Callable[..., Answer], pauses: list[float], failure: Any
) -> None:
    aws.script = [failure, response(200, b"1")]

    assert invoke().payload == b"1"
    assert len(aws.requests) == 2
    assert len(pauses) == 1


def test_pauses_grow_and_stay_below_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: high)

    class State:
        outcome = None

        def __init__(self, attempt: int) -> None:
            self.attempt_number = attempt

    drawn = [lambda_function._pause_seconds(State(attempt)) for attempt in range(1, 9)]  # type: ignore[arg-type]

    assert drawn == [0.5, 1, 2, 4, 8, 15, 15, 15]


def test_pause_is_at_least_what_lambda_asks_for(
    aws: Service, invoke: Callable[..., Answer], pauses: list[float]
) -> None:
    aws.script = [refusal(429, "TooManyRequestsException", Retry_After="7"), response(200, b"1")]

    invoke()

    assert 7 <= pauses[0] <= lambda_function.LONGEST_PAUSE_SECONDS


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (refusal(429, "TooManyRequestsException"), errors.LambdaThrottled),
        (EndpointConnectionError(endpoint_url=URL), errors.LambdaUnreachable),
    ],
    ids=["throttled", "refused"],
)
def test_trying_to_start_ends(
    aws: Service, invoke: Callable[..., Answer], failure: Any, raised: type[errors.LambdaError]
) -> None:
    aws.script = [failure]

    with pytest.raises(raised, match=URL):
        invoke(start_timeout=0)


@pytest.mark.parametrize(
    ("settings", "log_group"),
    [({}, "/aws/lambda/f"), ({"LoggingConfig": {"LogGroup": "/of/its/own"}}, "/of/its/own")],
    ids=["usual group", "group of its own"],
)
def test_settings_are_the_functions(
    aws: Service, hook: LambdaFunctionHook, settings: dict[str, Any], log_group: str
) -> None:
    aws.script = [response(200, json.dumps({"Timeout": 42, **settings}).encode())]

    assert hook.function_settings("f", None) == FunctionSettings(42, log_group)
    assert aws.requests[0].url == f"{URL}/2015-03-31/functions/f/configuration"


@pytest.mark.parametrize(
    "failure",
    [refusal(403, "AccessDeniedException"), refusal(404, "ResourceNotFoundException"),
     refusal(429, "TooManyRequestsException"), EndpointConnectionError(endpoint_url=URL)],
    ids=["not permitted", "no function", "throttled", "no connection"],
)  # fmt: skip
def test_settings_that_cannot_be_read_are_the_longest_timeout_and_the_usual_group(
    aws: Service, hook: LambdaFunctionHook, failure: Any
) -> None:
    """What is wrong is for the invocation to say, which is under way."""
    aws.script = [failure]

    assert hook.function_settings("f", None) == FunctionSettings(900, "/aws/lambda/f")


@pytest.mark.parametrize(
    ("qualifier", "named"),
    [
        pytest.param(None, "no Lambda function nope", marks=pytest.mark.bad_input(4)),
        pytest.param("v1", r"no Lambda function nope \(v1\)", marks=pytest.mark.bad_input(6)),
    ],
    ids=["function", "version"],
)
def test_what_does_not_exist_is_named_with_the_place_and_not_asked_for_again(
    aws: Service, hook: LambdaFunctionHook, qualifier: str | None, named: str
) -> None:
    aws.script = [refusal(404, "ResourceNotFoundException")]

    with pytest.raises(errors.LambdaNotFound, match=f"{named} in region ap-southeast-2, endpoint {URL}"):
        hook.invoke_once("nope", qualifier, b"{}", start_timeout=60)
    assert len(aws.requests) == 1


@pytest.mark.bad_input(5)
@pytest.mark.parametrize("qualifier", [None, ""], ids=repr)
def test_without_qualifier_none_is_sent(
    aws: Service, hook: LambdaFunctionHook, qualifier: str | None
) -> None:
    aws.script = [response(200, b'{"Timeout": 42}'), response(200)]
    hook.function_settings("f", qualifier)
    hook.invoke_once("f", qualifier, b"{}", start_timeout=60)

    assert [request.url for request in aws.requests] == [
        f"{URL}/2015-03-31/functions/f/configuration",
        f"{URL}/2015-03-31/functions/f/invocations",
    ]


@pytest.fixture
def _no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_connection(conn_id: str) -> None:
        raise AirflowNotFoundException

    monkeypatch.setattr("airflow.sdk.bases.hook.BaseHook.get_connection", get_connection)


@pytest.mark.bad_input(22)
@pytest.mark.usefixtures("_no_connections")
@pytest.mark.parametrize("missing", ["nowhere", ""], ids=repr)
def test_missing_connection_is_refused(aws: Service, missing: str) -> None:
    with pytest.raises(errors.ConnectionMissing, match=f"'{missing}'.*aws_conn_id=None"):
        LambdaFunctionHook(aws_conn_id=missing, region_name="ap-southeast-2").place()


@pytest.mark.bad_input(22)
@pytest.mark.usefixtures("_no_connections")
def test_no_connection_is_the_environments_credentials(aws: Service) -> None:
    hook = LambdaFunctionHook(aws_conn_id=None, region_name="ap-southeast-2")

    assert hook.get_credentials().access_key == "test"


def test_one_session_serves_all_clients(monkeypatch: pytest.MonkeyPatch, aws: Service) -> None:
    hook = LambdaFunctionHook(aws_conn_id=None, region_name="ap-southeast-2")

    assert hook.get_session("ap-southeast-2") is hook.get_session("ap-southeast-2")


class TestStreamReader:
    def page(self, *messages: str, upto: str) -> AWSResponse:
        events = [{"message": message, "timestamp": 1, "ingestionTime": 1} for message in messages]
        return response(200, json.dumps({"events": events, "nextForwardToken": upto}).encode())

    def sent(self, aws: Service) -> list[Any]:
        return [json.loads(request.body).get("nextToken") for request in aws.requests]

    def test_reads_until_the_token_repeats_over_empty_pages(
        self, aws: Service, hook: LambdaFunctionHook
    ) -> None:
        read = hook.stream_reader("/g", "s")
        aws.script = [
            self.page("a", upto="t1"),
            self.page(upto="t2"),
            self.page(upto="t3"),
            self.page(upto="t4"),
            self.page("b", upto="t5"),
            self.page(upto="t5"),
        ]

        events, last = read(None)

        assert [event["message"] for event in events] == ["a", "b"]
        assert last == "t5"
        assert self.sent(aws) == [None, "t1", "t2", "t3", "t4", "t5"]
        assert json.loads(aws.requests[0].body) == {
            "logGroupName": "/g", "logStreamName": "s", "startFromHead": True,
        }  # fmt: skip

    def test_goes_on_from_a_token(self, aws: Service, hook: LambdaFunctionHook) -> None:
        read = hook.stream_reader("/g", "s")
        aws.script = [self.page(upto="t5")]

        assert read("t5") == ([], "t5")
        assert self.sent(aws) == ["t5"]

    def test_stream_that_does_not_exist_yet_is_empty(self, aws: Service, hook: LambdaFunctionHook) -> None:
        read = hook.stream_reader("/g", "s")
        aws.script = [refusal(400, "ResourceNotFoundException")]

        assert read(None) == ([], None)

    def test_other_refusals_are_raised_at_once(self, aws: Service, hook: LambdaFunctionHook) -> None:
        read = hook.stream_reader("/g", "s")
        aws.script = [refusal(400, "ThrottlingException")]

        with pytest.raises(Exception, match="ThrottlingException"):
            read(None)
        assert len(aws.requests) == 1


def test_an_event_is_only_handed_over(aws: Service, hook: LambdaFunctionHook) -> None:
    aws.script = [response(202, b"", x_amzn_RequestId="request-1")]

    answer = hook.invoke_once("f", None, b"{}", start_timeout=60, asynchronous=True)

    assert answer == Answer(b"", request_id="request-1")
    (request,) = aws.requests
    assert request.headers["X-Amz-Invocation-Type"] == b"Event"


def test_an_event_of_which_nobody_knows_whether_it_was_taken_is_not_sent_again(
    aws: Service, hook: LambdaFunctionHook
) -> None:
    aws.script = [ReadTimeoutError(endpoint_url=URL)]

    with pytest.raises(errors.LambdaOutcomeUnknown, match="not invoked again"):
        hook.invoke_once("f", None, b"{}", start_timeout=60, asynchronous=True)
    assert len(aws.requests) == 1


def logged(*messages: str) -> AWSResponse:
    events = [{"message": f"{message}\n", "logStreamName": "own"} for message in messages]
    return response(200, json.dumps({"events": events}).encode())


REPORT = "REPORT RequestId: r-1\tDuration: 3000.00 ms\tMemory Size: 128 MB\t"


@pytest.mark.parametrize(
    ("messages", "ended", "reason"),
    [
        ([], False, ""),
        (["START RequestId: r-1 Version: $LATEST"], False, ""),
        (["START RequestId: r-1 Version: $LATEST", REPORT], True, ""),
        (["2026-11-21T11:40:15.391Z r-1 Task timed out after 3.00 seconds", REPORT + "Status: timeout"], True,
         "Task timed out after 3.00 seconds; Status: timeout"),
        (["RequestId: r-1 Error: Runtime exited with error: exit status 7\nRuntime.ExitError", REPORT], True,
         "Runtime exited with error: exit status 7"),
        (['{"time":"…","type":"platform.report","record":{"requestId":"r-1","status":"timeout"}}'], True,
         '"status":"timeout"'),
        # What the function itself says decides nothing.
        (["[INFO]\t…Z\tr-1\tREPORT RequestId: r-1 Status: timeout"], False, ""),
        # An emulator may return more than it was asked for.
        ([REPORT.replace("r-1", "r-2")], False, ""),
    ],
)  # fmt: skip
def test_own_log_tells_whether_and_why_it_has_ended(
    aws: Service, hook: LambdaFunctionHook, messages: list[str], ended: bool, reason: str
) -> None:
    aws.script = [logged(*messages)]

    own = hook.own_log("/aws/lambda/f", "r-1", since=100)

    assert (own.ended, own.reason) == (ended, reason)
    assert own.stream_name == ("own" if any("r-1" in message for message in messages) else "")
    asked = json.loads(aws.requests[0].body)
    # Some time before: clocks differ.
    assert asked == {"logGroupName": "/aws/lambda/f", "filterPattern": '"r-1"', "startTime": 40_000}


def test_last_event_of_a_stream(aws: Service, hook: LambdaFunctionHook) -> None:
    aws.script = [response(200, json.dumps({"events": [{"message": "the last"}]}).encode())]

    assert hook.last_event("/g", "s") == "the last"
    asked = json.loads(aws.requests[0].body)
    assert asked == {"logGroupName": "/g", "logStreamName": "s", "startFromHead": False, "limit": 1}


def test_a_stream_that_has_gone_is_an_error_and_one_not_yet_there_is_none(
    aws: Service, hook: LambdaFunctionHook
) -> None:
    aws.script = [refusal(400, "ResourceNotFoundException")]
    read = hook.stream_reader("/g", "s")

    assert read(None) == ([], None)
    with pytest.raises(hook.logs_client.exceptions.ResourceNotFoundException):
        read("token")


@pytest.mark.parametrize(
    "failure",
    [NoCredentialsError(), ParamValidationError(report="FunctionName")],
    ids=["credentials", "parameters"],
)
def test_what_botocore_itself_stops_at_was_not_sent(
    hook: LambdaFunctionHook, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def invoke(**_: Any) -> None:
        raise failure

    monkeypatch.setattr(hook, "lambda_client", SimpleNamespace(invoke=invoke))

    with pytest.raises(errors.LambdaError, match="no request was sent for f") as caught:
        hook.invoke_once("f", None, b"{}", start_timeout=60)
    assert type(caught.value) is errors.LambdaError


def test_nothing_is_asked_for_behind_the_end_marker(aws: Service, hook: LambdaFunctionHook) -> None:
    """One page less to wait for at the end of each task."""
    events = [{"message": contract.encode_end(contract.EndMarker("succeeded", 0, number=1)), "timestamp": 1}]
    page = {"events": events, "nextForwardToken": "f/1"}
    aws.script = [response(200, json.dumps(page).encode())]

    assert hook.stream_reader("/g", "s")(None) == (events, "f/1")
    assert len(aws.requests) == 1
