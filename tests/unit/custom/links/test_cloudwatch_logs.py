"""Where the link on a task's page leads, and when it is there."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetXCom, SetXCom, XComResult

from custom.links.cloudwatch_logs import LogStreamLink, log_stream_url

REGION = "ap-southeast-2"
GROUP = "/airflow/lambda/airflow-test"
STREAM = "2026/08/30/[$LATEST]demo-dag/scheduled__2026-08-30T10%3A00 é/1"
IN_CONSOLE = (
    "#logsV2:log-groups/log-group/$252Fairflow$252Flambda$252Fairflow-test/log-events/"
    "2026$252F08$252F30$252F$255B$2524LATEST$255Ddemo-dag$252Fscheduled__2026-08-30T10$25253A00$2520$25C3$25A9$252F1"
)


@pytest.mark.parametrize(
    ("region", "partition", "endpoint", "console"),
    [
        (REGION, "aws", "https://logs.ap-southeast-2.amazonaws.com", "https://console.aws.amazon.com"),
        ("us-east-1", "aws", "https://logs-fips.us-east-1.amazonaws.com", "https://console.aws.amazon.com"),
        ("us-east-1", "aws", "https://logs.us-east-1.api.aws", "https://console.aws.amazon.com"),
        (
            "us-east-1",
            "aws",
            "https://vpce-0a1b2c-3d4e.logs.us-east-1.vpce.amazonaws.com:443",
            "https://console.aws.amazon.com",
        ),
        ("cn-north-1", "aws-cn", "https://logs.cn-north-1.amazonaws.com.cn", "https://console.amazonaws.cn"),
        (
            "us-gov-west-1",
            "aws-us-gov",
            "https://logs.us-gov-west-1.amazonaws.com",
            "https://console.amazonaws-us-gov.com",
        ),
    ],
)
def test_on_aws_it_is_the_consoles_page_of_the_stream(
    region: str, partition: str, endpoint: str, console: str
) -> None:
    url = log_stream_url(region, partition, endpoint, GROUP, STREAM)

    assert url == f"{console}/cloudwatch/home?region={region}{IN_CONSOLE}"


@pytest.mark.parametrize(
    ("pattern", "end"),
    [
        ('"c3c7-1 b"', "/log-events$3FfilterPattern$3D$2522c3c7-1$2520b$2522"),
        ("", ""),
    ],
)
def test_on_aws_without_a_stream_it_is_the_consoles_page_of_the_group(pattern: str, end: str) -> None:
    url = log_stream_url(
        "eu-west-1",
        "aws",
        "https://logs.eu-west-1.amazonaws.com",
        "/aws/lambda/f",
        "",
        filter_pattern=pattern,
    )

    assert url == (
        "https://console.aws.amazon.com/cloudwatch/home?region=eu-west-1"
        f"#logsV2:log-groups/log-group/$252Faws$252Flambda$252Ff{end}"
    )


@pytest.mark.parametrize(
    ("partition", "endpoint"),
    [
        ("aws", "http://localstack:4566"),
        ("aws", "http://127.0.0.1:4566"),
        ("aws", "http://amazonaws.com.example:4566/logs.eu-west-1.amazonaws.com"),
        ("aws", "http://notamazonaws.com"),
        # A partition of which Airflow knows no console.
        ("aws-iso", "https://logs.us-iso-east-1.amazonaws.com"),
    ],
)
def test_elsewhere_it_is_a_page_of_the_webserver_on_whatever_port(partition: str, endpoint: str) -> None:
    url = urlsplit(log_stream_url(REGION, partition, endpoint, GROUP, STREAM))

    assert (url.scheme, url.netloc, url.path) == ("", "", "cloudwatch/log-events")
    assert parse_qs(url.query) == {"region": [REGION], "group": [GROUP], "stream": [STREAM]}


def test_elsewhere_without_a_stream_the_page_gets_the_filter() -> None:
    url = urlsplit(log_stream_url(REGION, "aws", "http://localstack:4566", GROUP, "", filter_pattern='"a&b"'))

    assert parse_qs(url.query) == {"region": [REGION], "group": [GROUP], "filter_pattern": ['"a&b"']}


class Task:
    """A running task, as far as its XComs go: those that Airflow's supervisor would hold."""

    dag_id, task_id, run_id, map_index = "d", "t", "r", 3

    def __init__(self) -> None:
        self.xcoms: dict[tuple[Any, ...], Any] = {}

    def send(self, message: Any) -> Any:
        key = (message.dag_id, message.task_id, message.run_id, message.map_index, message.key)
        match message:
            case SetXCom():
                self.xcoms[key] = message.value
            case GetXCom():
                return XComResult(key=message.key, value=self.xcoms.get(key))

    def xcom_push(self, key: str, value: Any) -> None:
        self.send(
            SetXCom(
                key=key,
                value=value,
                dag_id=self.dag_id,
                task_id=self.task_id,
                run_id=self.run_id,
                map_index=self.map_index,
            )
        )


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Any:
    task = Task()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", task, raising=False)
    return task


def test_what_was_persisted_is_the_link_at_once_and_at_the_end(task: Any) -> None:
    link: Any = LogStreamLink()

    link.persist({"ti": task}, "cloudwatch/log-events?group=g")

    # Where Airflow's page looks while the task runs.
    assert task.xcoms == {("d", "t", "r", 3, link.xcom_key): "cloudwatch/log-events?group=g"}
    assert link.get_link(None, ti_key=task) == "cloudwatch/log-events?group=g"


def test_nothing_persisted_is_no_link(task: Any) -> None:
    link: Any = LogStreamLink()

    assert link.get_link(None, ti_key=task) == ""


def test_a_link_that_cannot_be_stored_does_not_fail_the_task() -> None:
    class Broken(Task):
        def xcom_push(self, key: str, value: Any) -> None:
            raise RuntimeError("the API server is away")

    link: Any = LogStreamLink()
    link.persist({"ti": Broken()}, "cloudwatch/log-events?group=g")
