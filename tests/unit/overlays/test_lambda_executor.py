"""The function that runs a task of Airflow, with a stand-in for ECS and SQS."""

import importlib.util
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from windtunnel.stack.settings import ROOT

EVENT = {"task_key": "the key", "command": ["python", "-m", "airflow.something"], "executor_config": {}}
ARN = "arn:aws:ecs:ap-southeast-2:000000000000:task/c/1"


class Aws:
    """A task that runs for so many looks, and ends in this way; what the function has asked for."""

    def __init__(self) -> None:
        self.looks = 0
        self.end: dict[str, Any] = {"containers": [{"exitCode": 0}]}
        self.failures: list[dict[str, str]] = []
        self.forgets = False
        self.ran: dict[str, Any] = {}
        self.stops: list[str] = []
        self.sent: list[Any] = []

    def run_task(self, **arguments: Any) -> dict[str, Any]:
        self.ran = arguments
        return {"tasks": [] if self.failures else [{"taskArn": ARN}], "failures": self.failures}

    def describe_tasks(self, **_: Any) -> dict[str, Any]:
        self.looks -= 1
        if self.forgets:
            return {"tasks": [], "failures": [{"arn": ARN, "reason": "MISSING"}]}
        status = "RUNNING" if self.looks >= 0 and not self.stops else "STOPPED"
        return {"tasks": [{"lastStatus": status, **self.end}], "failures": []}

    def stop_task(self, **arguments: Any) -> None:
        self.stops.append(arguments["reason"])

    def send_message(self, **arguments: Any) -> None:
        self.sent.append(json.loads(arguments["MessageBody"]))


@pytest.fixture
def aws() -> Aws:
    return Aws()


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch, aws: Aws) -> Any:
    folder = ROOT / "overlays/lambda-executor/airflow_lambda_executor"
    for name, value in json.loads((folder / "function.json").read_text())["Environment"]["Variables"].items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("lambda_executor_function", folder / "lambda_function.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.boto3, "client", lambda _: aws)
    return module


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, function: Any) -> Callable[..., Any]:
    """Call the function, whose clock goes on while it waits."""

    def called(event: dict[str, Any] = EVENT, limit: float = 900.0) -> Any:
        left = [limit]

        def sleep(seconds: float) -> None:
            assert seconds > 0
            left[0] -= seconds

        monkeypatch.setattr(function.time, "sleep", sleep)
        context = SimpleNamespace(
            aws_request_id="request",
            function_name="airflow-lambda-executor",
            get_remaining_time_in_millis=lambda: left[0] * 1000,
        )
        return function.lambda_handler(event, context)

    return called


def test_a_task_that_ends_well(call: Callable[..., Any], aws: Aws) -> None:
    aws.looks = 5

    assert call() == {"task_key": "the key", "return_code": 0}

    assert aws.sent == [{"task_key": "the key", "return_code": 0}]
    assert aws.ran["startedBy"] == "request"
    assert aws.ran["overrides"] == {
        "containerOverrides": [{"name": "airflow", "command": ["python", "-m", "airflow.something"]}]
    }


@pytest.mark.parametrize(
    ("end", "result"),
    [
        ({"containers": [{"exitCode": 1}]}, {"return_code": 1}),
        (
            {"containers": [{"exitCode": 137}]},
            {"return_code": 137, "reason": "The signal 9 has ended the task."},
        ),
        (
            {"containers": [{"exitCode": 137, "reason": "OutOfMemoryError: too much"}]},
            {"return_code": 137, "reason": "OutOfMemoryError: too much"},
        ),
        (
            {"containers": [{}], "stoppedReason": "CannotPullContainerError: no agent"},
            {"return_code": 1, "reason": "CannotPullContainerError: no agent"},
        ),
    ],
)
def test_how_a_task_has_ended_is_told(
    call: Callable[..., Any], aws: Aws, end: dict[str, Any], result: dict[str, Any]
) -> None:
    aws.end = end

    assert call() == {"task_key": "the key", **result}


def test_a_task_is_stopped_before_lambdas_limit_and_has_failed_though_it_says_0(
    call: Callable[..., Any], aws: Aws
) -> None:
    aws.looks = 10_000

    result = call(limit=30)

    (reason,) = aws.stops
    assert (result["return_code"], result["reason"]) == (1, reason)
    assert "the function airflow-lambda-executor may take 30 s" in reason


def test_a_task_that_does_not_heed_its_stop_is_told_once(call: Callable[..., Any], aws: Aws) -> None:
    aws.looks = 10_000
    looks: list[None] = []

    def described(**_: Any) -> dict[str, Any]:
        looks.append(None) if aws.stops else None
        status = "STOPPED" if len(looks) > 3 else "RUNNING"
        return {"tasks": [{"lastStatus": status, **aws.end}], "failures": []}

    aws.describe_tasks = described  # type: ignore[method-assign]

    call(limit=12)

    assert len(aws.stops) == 1


@pytest.mark.parametrize(("failures", "forgets"), [([{"reason": "RESOURCE:MEMORY"}], False), ([], True)])
def test_what_ecs_does_not_run_is_a_dead_letter(
    call: Callable[..., Any], aws: Aws, failures: list[dict[str, str]], forgets: bool
) -> None:
    aws.failures, aws.forgets = failures, forgets

    with pytest.raises(RuntimeError, match=r"RESOURCE:MEMORY|MISSING"):
        call()

    assert aws.sent == []


def test_of_executor_config_what_can_be_applied_is(
    call: Callable[..., Any], aws: Aws, caplog: pytest.LogCaptureFixture
) -> None:
    variables = [{"name": "GREETING", "value": "hello"}]
    own = {"environment": variables, "cpu": 256, "command": ["another"], "name": "another"}
    config = {
        "overrides": {"cpu": "512", "taskRoleArn": "r", "containerOverrides": [own]},
        "pod_override": {},
    }

    call({**EVENT, "executor_config": config})

    assert aws.ran["overrides"] == {
        "cpu": "512",
        "containerOverrides": [
            {"environment": variables, "cpu": 256, "name": "airflow", "command": EVENT["command"]}
        ],
    }
    assert "not applied: command, pod_override, taskRoleArn" in caplog.text
