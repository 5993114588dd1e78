"""One request for one run, and what each failure means.

The real botocore client is used; answers are given at the point where it would send, so that its own
retries, parsing and errors take part. No socket is opened.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from airflow.sdk.exceptions import AirflowNotFoundException
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from custom import errors
from custom.hooks import lambda_function
from custom.hooks.lambda_function import Answer, LambdaFunctionHook

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
    def invoke(seconds: int = 60) -> Answer:
        return hook.invoke_once("f", "$LATEST", b'{"n": 1}', seconds, pause=pauses.append)

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


def test_log_tail_that_is_not_base64_is_left_out(aws: Service, invoke: Callable[..., Answer]) -> None:
    aws.script = [response(200, b"1", X_Amz_Log_Result="*not base64*")]

    assert invoke().log_tail == ""


def test_client_waits_for_the_function_and_a_margin(
    hook: LambdaFunctionHook, aws: Service, invoke: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = []
    make = hook.get_client_type

    def get_client_type(**arguments: Any) -> Any:
        configs.append(arguments["config"])
        return make(**arguments)

    monkeypatch.setattr(hook, "get_client_type", get_client_type)
    aws.script = [response(200)]
    invoke(seconds=900)

    (config,) = configs
    assert config.read_timeout == 930
    assert config.tcp_keepalive
    assert config.retries["total_max_attempts"] == 1


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (ReadTimeoutError(endpoint_url=URL), errors.LambdaTimedOut),
        (ConnectionClosedError(endpoint_url=URL), errors.LambdaOutcomeUnknown),
        (refusal(500, "ServiceException"), errors.LambdaError),
        (refusal(502, "EC2UnexpectedException"), errors.LambdaError),
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

    assert invoke().result() == 1
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
    aws: Service,
    invoke: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
    failure: Any,
    raised: type[errors.LambdaError],
) -> None:
    monkeypatch.setattr(lambda_function, "START_SECONDS", 0)
    aws.script = [failure]

    with pytest.raises(raised, match=URL):
        invoke()


def test_timeout_is_the_functions(aws: Service, hook: LambdaFunctionHook) -> None:
    aws.script = [response(200, b'{"Timeout": 42}')]

    assert hook.function_timeout("f", None) == 42
    assert aws.requests[0].url == f"{URL}/2015-03-31/functions/f/configuration"


def test_timeout_that_may_not_be_read_is_the_longest(aws: Service, hook: LambdaFunctionHook) -> None:
    aws.script = [refusal(403, "AccessDeniedException")]

    assert hook.function_timeout("f", None) == 900


def test_unknown_function_is_named_with_the_place(aws: Service, hook: LambdaFunctionHook) -> None:
    aws.script = [refusal(404, "ResourceNotFoundException")]

    with pytest.raises(errors.LambdaNotFound, match=r"nope \(v1\) in region ap-southeast-2, endpoint https"):
        hook.function_timeout("nope", "v1")


def test_unreachable_service_is_named_with_the_place(aws: Service, hook: LambdaFunctionHook) -> None:
    aws.script = [EndpointConnectionError(endpoint_url=URL)]

    with pytest.raises(errors.LambdaUnreachable, match=URL):
        hook.function_timeout("f", None)


def test_missing_connection_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_connection(conn_id: str) -> None:
        raise AirflowNotFoundException

    monkeypatch.setattr("airflow.sdk.bases.hook.BaseHook.get_connection", get_connection)

    with pytest.raises(errors.ConnectionMissing, match=r"'nowhere'.*aws_conn_id=None"):
        LambdaFunctionHook(aws_conn_id="nowhere").function_timeout("f", None)


def test_one_session_serves_all_clients(monkeypatch: pytest.MonkeyPatch, aws: Service) -> None:
    hook = LambdaFunctionHook(aws_conn_id=None, region_name="ap-southeast-2")

    assert hook.get_session("ap-southeast-2") is hook.get_session("ap-southeast-2")


@pytest.mark.parametrize(
    ("payload", "result"),
    [(b"", None), (b"null", None), (b'{"a": 1}', {"a": 1}), (b'"text"', "text"), (b"not json", "not json"),
     (b"\xff", "\ufffd")],
    ids=repr,
)  # fmt: skip
def test_result_is_decoded_as_far_as_it_can_be(payload: bytes, result: Any) -> None:
    assert Answer(payload).result() == result


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
