"""Who may see the webserver's page of a log stream, and what stands on it.

The real botocore client is used; answers are given at the point where it would send.
"""

import json
import subprocess
import sys
from typing import Any
from uuid import UUID

import boto3
import pytest
from airflow.api_fastapi.app import _AuthManagerState
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.exceptions import EndpointConnectionError
from fastapi import FastAPI
from fastapi.testclient import TestClient

from custom.links import container_log, container_streams
from custom.links.cloudwatch_logs import log_stream_url
from custom.links.container_log import TaskTry
from custom.links.container_streams import NoLogStream
from custom.plugins import cloudwatch_logs
from custom.plugins.cloudwatch_logs import CloudWatchLogsPlugin

PAGE = "/cloudwatch/log-events"
STREAM = {"group": "/airflow/lambda/f", "stream": "2026/[$LATEST]one"}
# 2026-08-30T10:00:00Z
MOMENT = 1_788_084_000_000


class Body:
    """The part of a response that botocore reads from a socket."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self.content


class CloudWatch:
    """CloudWatch Logs: takes requests, answers from a script; the last answer is repeated."""

    def __init__(self) -> None:
        self.requests: list[AWSRequest] = []
        self.script: list[Any] = [page()]

    def __call__(self, request: AWSRequest, **_: Any) -> AWSResponse:
        self.requests.append(request)
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Exception):
            raise answer
        status, body = answer
        return AWSResponse(request.url, status, {}, Body(json.dumps(body).encode()))

    def asked(self) -> list[tuple[str, dict[str, Any]]]:
        """Operation and arguments of each request."""
        return [
            (request.headers["X-Amz-Target"].decode().rpartition(".")[2], json.loads(request.body))
            for request in self.requests
        ]


def page(*messages: str, end: str = "end") -> tuple[int, dict[str, Any]]:
    """One answer of GetLogEvents; ``end`` is the token that leads on from there."""
    events = [{"timestamp": MOMENT + number, "message": text} for number, text in enumerate(messages)]
    return 200, {"events": events, "nextForwardToken": end}


def found(*events: tuple[str, str], **more: Any) -> tuple[int, dict[str, Any]]:
    """One answer of FilterLogEvents: of each event, stream and message."""
    return 200, {
        "events": [
            {"timestamp": MOMENT, "logStreamName": stream, "message": message} for stream, message in events
        ]
    } | more


def refusal(code: str) -> tuple[int, dict[str, Any]]:
    return 400, {"__type": code, "message": "so it is"}


class Airflow(SimpleAuthManager):
    """Airflow's users: one with a role, whose token is its name, and one with none."""

    async def get_user_from_token(self, token: str) -> SimpleAuthManagerUser:
        return SimpleAuthManagerUser(username="someone", role={"viewer": "viewer"}.get(token))


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> CloudWatch:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "test")
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-2")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://")
    aws = CloudWatch()

    def get_session(self: AwsBaseHook, region_name: str | None = None, deferrable: bool = False) -> Any:
        session = boto3.session.Session(region_name=region_name)
        session.events.register("before-send", aws)
        return session

    monkeypatch.setattr(AwsBaseHook, "get_session", get_session)
    return aws


@pytest.fixture
def anyone(aws: CloudWatch, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """A browser before the webserver, without login."""
    users: Any = Airflow
    monkeypatch.setattr(_AuthManagerState, "instance", users())
    webserver = FastAPI()
    for app in CloudWatchLogsPlugin().fastapi_apps:
        webserver.mount(app["url_prefix"], app["app"])
    return TestClient(webserver)


@pytest.fixture
def viewer(anyone: TestClient) -> TestClient:
    anyone.cookies[COOKIE_NAME_JWT_TOKEN] = "viewer"
    return anyone


def test_without_login_nothing_is_shown_or_read(anyone: TestClient, aws: CloudWatch) -> None:
    assert anyone.get(PAGE, params=STREAM).status_code == 401
    assert anyone.get(PAGE).status_code == 401
    assert aws.requests == []


@pytest.mark.parametrize(
    "login", [{"cookies": {"_token": "viewer"}}, {"headers": {"Authorization": "Bearer viewer"}}]
)
def test_browsers_and_api_clients_log_in_as_everywhere(anyone: TestClient, login: dict[str, Any]) -> None:
    client = TestClient(anyone.app, **login)

    assert client.get(PAGE, params=STREAM).status_code == 200


def test_who_may_not_read_logs_is_refused(anyone: TestClient, aws: CloudWatch) -> None:
    anyone.cookies[COOKIE_NAME_JWT_TOKEN] = "no role"

    assert anyone.get(PAGE, params=STREAM).status_code == 403
    assert aws.requests == []


def test_task_logs_of_all_dags_must_be_open_to_the_user(
    viewer: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def is_authorized_dag(self: Airflow, *, details: Any = None, **question: Any) -> bool:
        asked.append(question | {"user": question["user"].get_name()})
        return details is not None

    monkeypatch.setattr(Airflow, "is_authorized_dag", is_authorized_dag)

    assert viewer.get(PAGE, params=STREAM | {"dag_id": "a-dag-of-mine"}).status_code == 403
    assert asked == [{"method": "GET", "access_entity": DagAccessEntity.TASK_LOGS, "user": "someone"}]


def test_a_stream_is_read_to_its_end(viewer: TestClient, aws: CloudWatch) -> None:
    aws.script = [
        page("first", "second\n", end="a"),
        page(end="b"),
        page("Traceback:\n  File\nKeyError: 'ü'", end="c"),
        page(end="c"),
    ]

    answer = viewer.get(PAGE, params=STREAM)

    assert answer.text.splitlines() == [
        "2026-08-30T10:00:00.000Z first",
        "2026-08-30T10:00:00.001Z second",
        "2026-08-30T10:00:00.000Z Traceback:",
        "                           File",
        "                         KeyError: 'ü'",
    ]
    where = {"logGroupName": STREAM["group"], "logStreamName": STREAM["stream"], "startFromHead": True}
    assert aws.asked() == [
        ("GetLogEvents", where | token)
        for token in ({}, {"nextToken": "a"}, {"nextToken": "b"}, {"nextToken": "c"})
    ]


def test_a_functions_text_stays_text(viewer: TestClient, aws: CloudWatch) -> None:
    aws.script = [page("<script>alert(1)</script>"), page()]

    answer = viewer.get(PAGE, params=STREAM)

    assert answer.text.endswith(" <script>alert(1)</script>\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_half_a_surrogate_pair_is_shown_escaped(viewer: TestClient, aws: CloudWatch) -> None:
    aws.script = [page("cut \ud83d"), page()]

    assert viewer.get(PAGE, params=STREAM).text.endswith(" cut \\ud83d\n")


def test_a_long_stream_is_cut_with_a_note(
    viewer: TestClient, aws: CloudWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloudwatch_logs, "MAX_CHARS", 70)
    aws.script = [page("x" * 40, end="a"), page("y" * 40, "z", end="b"), page("never read", end="c")]

    lines = viewer.get(PAGE, params=STREAM).text.splitlines()

    assert [line[25:26] for line in lines[:-1]] == ["x", "y"]
    assert lines[-1].startswith("… [cut: more than 70 characters;")
    assert len(aws.requests) == 2


def test_an_empty_stream_says_so(viewer: TestClient) -> None:
    assert viewer.get(PAGE, params=STREAM).text == "No events yet.\n"


def test_without_a_stream_the_group_is_searched(viewer: TestClient, aws: CloudWatch) -> None:
    aws.script = [
        found(("one", "START RequestId: 4711"), ("two", "START RequestId: 4712"), nextToken="a"),
        found(("three", "END RequestId: 4711")),
    ]

    answer = viewer.get(PAGE, params={"group": "/aws/lambda/f", "filter_pattern": '"RequestId: 4711"'})

    # LocalStack would have sent the second one as well.
    assert [line[25:] for line in answer.text.splitlines()] == [
        "one START RequestId: 4711",
        "three END RequestId: 4711",
    ]
    first, second = aws.asked()
    assert first == (
        "FilterLogEvents",
        {"logGroupName": "/aws/lambda/f", "filterPattern": '"RequestId: 4711"', "interleaved": True},
    )
    assert second[1] == first[1] | {"nextToken": "a"}


@pytest.mark.parametrize("pattern", ["", "?ERROR ?WARN", "{ $.level = 50 }"])
def test_other_patterns_are_cloudwatchs_business(viewer: TestClient, aws: CloudWatch, pattern: str) -> None:
    aws.script = [found(("one", "whatever"))]

    assert viewer.get(PAGE, params={"group": "g", "filter_pattern": pattern}).text.endswith("one whatever\n")
    ((_, arguments),) = aws.asked()
    assert arguments.get("filterPattern", "") == pattern


def test_a_stream_that_is_not_there_yet_is_404(viewer: TestClient, aws: CloudWatch) -> None:
    aws.script = [refusal("ResourceNotFoundException")]

    answer = viewer.get(PAGE, params=STREAM)

    assert answer.status_code == 404
    assert answer.text.startswith("There is no log stream 2026/[$LATEST]one in the group /airflow/lambda/f.")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (EndpointConnectionError(endpoint_url="http://localstack:4566"), "http://localstack:4566"),
        (refusal("AccessDeniedException"), "AccessDeniedException"),
        ((500, {}), "500"),
    ],
)
def test_when_aws_does_not_answer_the_reason_is_told_at_once(
    viewer: TestClient, aws: CloudWatch, trouble: Any, reason: str
) -> None:
    aws.script = [trouble]

    answer = viewer.get(PAGE, params=STREAM)

    assert answer.status_code == 502
    assert reason in answer.text
    assert len(aws.requests) == 1


def test_the_link_of_a_task_leads_here(viewer: TestClient, aws: CloudWatch) -> None:
    stream = "2026/08/30/[$LATEST]dag/manual__2026-08-30T10%3A00%2B00/t&x=1#é/1"
    url = log_stream_url("eu-west-1", "aws", "http://localstack:4566", "/airflow/lambda/f", stream)

    assert viewer.get(f"/{url}").status_code == 200

    assert aws.requests[0].url == "https://logs.eu-west-1.amazonaws.com/"
    assert aws.asked()[0][1]["logStreamName"] == stream


CONTAINER = "/cloudwatch/container-log"
TASK = UUID(int=1)


@pytest.fixture
def containers(monkeypatch: pytest.MonkeyPatch) -> dict[UUID, Any]:
    """What is said of the log of each task instance: an address, or why there is none."""
    containers: dict[UUID, Any] = {}

    def task_try(task_instance: UUID) -> TaskTry | None:
        return TaskTry(task_instance, "E", "the-job", {}, None) if task_instance in containers else None

    def container_log_url(one: TaskTry) -> str:
        answer = containers[one.id]
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr(container_log, "task_try", task_try)
    monkeypatch.setattr(container_streams, "container_log_url", container_log_url)
    return containers


def test_a_container_leads_on_to_its_stream(viewer: TestClient, aws: CloudWatch, containers: Any) -> None:
    containers[TASK] = log_stream_url("eu-west-1", "aws", "http://localstack:4566", "/ecs/airflow", "a/b/1")

    answer = viewer.get(CONTAINER, params={"task_instance": str(TASK)})

    assert answer.status_code == 200
    assert answer.url.path == PAGE
    assert aws.asked()[0][1]["logStreamName"] == "a/b/1"


def test_on_aws_it_leads_on_to_the_console(viewer: TestClient, containers: Any) -> None:
    containers[TASK] = log_stream_url(
        "eu-west-1", "aws", "https://logs.eu-west-1.amazonaws.com", "/ecs/airflow", "a/b/1"
    )

    answer = viewer.get(CONTAINER, params={"task_instance": str(TASK)}, follow_redirects=False)

    assert answer.headers["location"] == containers[TASK]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("trouble", "status", "text"),
    [
        (NoLogStream("It is RUNNABLE."), 404, "It is RUNNABLE."),
        (EndpointConnectionError(endpoint_url="http://localstack:4566"), 502, "the log of the-job is: Could"),
    ],
)
def test_why_there_is_no_stream_is_told(
    viewer: TestClient, containers: Any, trouble: Exception, status: int, text: str
) -> None:
    containers[TASK] = trouble

    answer = viewer.get(CONTAINER, params={"task_instance": str(TASK)})

    assert (answer.status_code, text in answer.text) == (status, True)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_a_task_that_no_container_has_run_is_404(viewer: TestClient, containers: Any) -> None:
    answer = viewer.get(CONTAINER, params={"task_instance": str(TASK)})

    assert (answer.status_code, str(TASK) in answer.text) == (404, True)


@pytest.mark.parametrize(("login", "status"), [("", 401), ("no role", 403)])
def test_who_may_not_read_logs_is_not_led_on(
    anyone: TestClient, containers: Any, login: str, status: int
) -> None:
    containers[TASK] = "cloudwatch/log-events?group=g"
    anyone.cookies[COOKIE_NAME_JWT_TOKEN] = login

    answer = anyone.get(CONTAINER, params={"task_instance": str(TASK)}, follow_redirects=False)

    assert (answer.status_code, "location" in answer.headers) == (status, False)


def test_what_only_the_page_needs_is_not_imported_with_the_plugin() -> None:
    """Every task loads all plugins: FastAPI alone would cost it 0.1 s."""
    program = (
        "import runpy, sys, airflow.plugins_manager; before = set(sys.modules)\n"
        f"assert 'CloudWatchLogsPlugin' in runpy.run_path({cloudwatch_logs.__file__!r})\n"
        "new = set(sys.modules) - before\n"
        "assert not new & {'boto3', 'botocore', 'fastapi', 'pydantic', 'starlette'}, new\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
