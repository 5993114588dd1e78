"""Where the link to a container's log leads, with boto3's own clients and answers as AWS gives them."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import boto3
import pytest
from botocore.exceptions import ClientError

from custom.links import container_streams
from custom.links.container_log import TaskTry
from custom.links.container_streams import NoLogStream, container_log_url

REGION = "ap-southeast-2"
ID = UUID("0199f000-0000-7000-8000-000000000001")
ARN = f"arn:aws:ecs:{REGION}:000000000000:task/others/0123"
DEFINITION = f"arn:aws:ecs:{REGION}:000000000000:task-definition/airflow:3"
QUEUED = datetime(2026, 8, 30, 10, tzinfo=UTC)
SETTINGS = {
    "AWS_ECS_EXECUTOR": {"TASK_DEFINITION": "airflow", "CONTAINER_NAME": "main", "REGION_NAME": REGION},
    "AWS_BATCH_EXECUTOR": {"REGION_NAME": REGION, "CONN_ID": "mine"},
    "AWS_LAMBDA_EXECUTOR": {"FUNCTION_NAME": "runs-airflow", "REGION_NAME": REGION},
}


class Aws:
    """Answers calls by the names of their operations, and remembers the arguments.

    An answer may be a list, whose parts are given one after another.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: dict[str, dict[str, Any]] = {}
        self.connections: set[str | None] = set()

    def client(self, service: str, region_name: str | None = None, aws_conn_id: str | None = None) -> Any:
        self.connections.add(aws_conn_id)
        client = boto3.client(
            service,
            region_name=region_name,
            endpoint_url="http://localstack:4566",
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106
        )
        client.meta.events.register("before-parameter-build", self._note)
        client.meta.events.register("before-call", self._answer)
        return client

    def _note(self, params: Any, model: Any, **_: Any) -> None:
        self.asked[model.name] = dict(params)

    def _answer(self, model: Any, **_: Any) -> tuple[Any, Any]:
        answer = self.answers[model.name]
        body = answer.pop(0) if isinstance(answer, list) else answer
        status = 400 if "Error" in body else 200
        return SimpleNamespace(status_code=status), {"ResponseMetadata": {"HTTPStatusCode": status}, **body}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    aws = Aws()
    monkeypatch.setattr(container_streams, "quick_client", aws.client)
    for section, settings in SETTINGS.items():
        for name, value in settings.items():
            monkeypatch.setenv(f"AIRFLOW__{section}__{name}", value)
    return aws


def led_to(executor: str, external_executor_id: str, **config: Any) -> dict[str, str]:
    """The query of the address that a person is led on to."""
    url = urlsplit(container_log_url(TaskTry(ID, executor, external_executor_id, config, QUEUED)))
    assert (url.scheme, url.netloc, url.path) == ("", "", "cloudwatch/log-events")
    return dict(parse_qsl(url.query))


def definition(name: str = "main", driver: str = "awslogs", **options: str) -> dict[str, Any]:
    """An answer of DescribeTaskDefinition."""
    log = {"logDriver": driver, "options": {f"awslogs-{key}": value for key, value in options.items()}}
    return {
        "taskDefinition": {
            "taskDefinitionArn": DEFINITION,
            "containerDefinitions": [{"name": "sidecar"}, {"name": name, "logConfiguration": log}],
        }
    }


OPTIONS = {"group": "/ecs/mine", "region": "eu-west-1", "stream-prefix": "pre"}
IN_ECS = {"region": "eu-west-1", "group": "/ecs/mine", "stream": "pre/main/0123"}


def test_a_task_of_ecs_says_by_which_definition_it_runs(aws: Aws) -> None:
    aws.answers = {
        "DescribeTasks": {"tasks": [{"taskDefinitionArn": DEFINITION}]},
        "DescribeTaskDefinition": definition(**OPTIONS),
    }

    assert led_to("AwsEcsExecutor", ARN, taskDefinition="of-no-account") == IN_ECS
    assert aws.asked["DescribeTasks"] == {"cluster": "others", "tasks": [ARN]}
    assert aws.asked["DescribeTaskDefinition"] == {"taskDefinition": DEFINITION}
    assert aws.connections == {"aws_default"}


@pytest.mark.parametrize(
    ("config", "asked"), [({}, "airflow"), ({"taskDefinition": "of-this-task"}, "of-this-task")]
)
def test_of_a_task_that_ecs_has_forgotten_the_executor_says_it(
    aws: Aws, config: dict[str, Any], asked: str
) -> None:
    aws.answers = {
        "DescribeTasks": {"tasks": [], "failures": [{"arn": ARN, "reason": "MISSING"}]},
        "DescribeTaskDefinition": definition(**OPTIONS),
    }

    assert led_to("AwsEcsExecutor", ARN, **config) == IN_ECS
    assert aws.asked["DescribeTaskDefinition"] == {"taskDefinition": asked}


def test_without_a_prefix_the_first_line_is_looked_for(aws: Aws) -> None:
    aws.answers = {
        "DescribeTasks": {"tasks": []},
        "DescribeTaskDefinition": definition(group="/ecs/mine", region=REGION),
    }

    assert led_to("AwsEcsExecutor", ARN) == {
        "region": REGION,
        "group": "/ecs/mine",
        "filter_pattern": f'"{ID}"',
    }


@pytest.mark.parametrize("described", [definition(driver="splunk"), definition(name="other", **OPTIONS)])
def test_a_container_that_does_not_write_to_cloudwatch_is_named(aws: Aws, described: Any) -> None:
    aws.answers = {"DescribeTasks": {"tasks": []}, "DescribeTaskDefinition": described}

    with pytest.raises(NoLogStream, match=r"^The container main of arn:.*airflow:3 does not write"):
        led_to("AwsEcsExecutor", ARN)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"region": REGION, "group": "/aws/batch/job"}),
        (
            {"awslogs-group": "/mine", "awslogs-region": "eu-west-1"},
            {"region": "eu-west-1", "group": "/mine"},
        ),
    ],
)
def test_batch_says_where_the_last_attempt_of_a_job_writes(
    aws: Aws, options: dict[str, str], expected: dict[str, str]
) -> None:
    container = {"logStreamName": "airflow/default/4", "logConfiguration": {"options": options}}
    aws.answers = {"DescribeJobs": {"jobs": [{"status": "RUNNING", "container": container}]}}

    assert led_to("AwsBatchExecutor", "job") == {**expected, "stream": "airflow/default/4"}
    assert aws.asked["DescribeJobs"] == {"jobs": ["job"]}
    assert aws.connections == {"mine"}


def test_of_a_job_that_batch_has_forgotten_the_first_line_is_looked_for(aws: Aws) -> None:
    aws.answers = {"DescribeJobs": {"jobs": []}}

    assert led_to("AwsBatchExecutor", "job") == {
        "region": REGION,
        "group": "/aws/batch/job",
        "filter_pattern": f'"{ID}"',
    }


@pytest.mark.parametrize(
    ("job", "end"),
    [
        ({"status": "RUNNABLE", "container": {}}, "It is RUNNABLE."),
        ({"status": "FAILED", "statusReason": "why"}, "It is FAILED: why."),
    ],
)
def test_a_job_that_has_not_begun_says_so(aws: Aws, job: dict[str, Any], end: str) -> None:
    aws.answers = {"DescribeJobs": {"jobs": [job]}}

    with pytest.raises(NoLogStream, match=r"^The job one has no log stream") as reason:
        led_to("AwsBatchExecutor", "one")
    assert str(reason.value).endswith(end)


def event(stream: str, message: str) -> dict[str, Any]:
    return {"logStreamName": stream, "message": message}


def test_under_lambda_the_first_line_of_the_task_says_which_stream_it_is(aws: Aws) -> None:
    aws.answers = {
        "GetFunctionConfiguration": {"FunctionName": "runs-airflow", "LoggingConfig": {"LogGroup": "/mine"}},
        # LocalStack finds all of them, whatever the pattern.
        "FilterLogEvents": [
            {"events": [event("function", "task one")], "nextToken": "more"},
            {"events": [event("task/airflow/8", f"Executing {ID}"), event("other", f"again {ID}")]},
        ],
    }

    assert led_to("AwsLambdaExecutor", '{"task_id": "task"}') == {
        "region": REGION,
        "group": "/mine",
        "stream": "task/airflow/8",
    }
    assert aws.asked["GetFunctionConfiguration"] == {"FunctionName": "runs-airflow"}
    assert aws.asked["FilterLogEvents"] == {
        "logGroupName": "/mine",
        "filterPattern": f'"{ID}"',
        "interleaved": True,
        "startTime": 1_788_084_000_000,
        "nextToken": "more",
    }


def test_under_lambda_a_task_without_a_line_yet_leads_to_the_search(aws: Aws) -> None:
    aws.answers = {
        "GetFunctionConfiguration": {"FunctionName": "runs-airflow"},
        "FilterLogEvents": {"events": []},
    }

    assert led_to("AwsLambdaExecutor", "{}") == {
        "region": REGION,
        "group": "/aws/lambda/runs-airflow",
        "filter_pattern": f'"{ID}"',
    }


def test_what_aws_refuses_comes_through(aws: Aws) -> None:
    aws.answers = {"DescribeTasks": {"Error": {"Code": "ClusterNotFoundException", "Message": "no"}}}

    with pytest.raises(ClientError, match="ClusterNotFoundException"):
        led_to("AwsEcsExecutor", ARN)
