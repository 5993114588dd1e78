"""What cannot be had does not keep the rest from being written."""

import json
import re
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3
from airflow_client.client.models.dag_run_state import DagRunState
from airflow_client.client.models.task_instance_state import TaskInstanceState

from windtunnel.airflow_api.client import AirflowApiError
from windtunnel.airflow_api.task_log import LogRecord, TaskLog
from windtunnel.diagnosis import evidence
from windtunnel.stack import aws
from windtunnel.stack.errors import StackError
from windtunnel.stack.settings import Settings

from ..stand_ins.aws import client
from . import test_batch, test_ecs, test_sqs
from .test_redaction import TOKEN

RUN: Any = SimpleNamespace(dag_id="mine", dag_run_id="run-1")
OTHER: Any = SimpleNamespace(dag_id="mine", dag_run_id="run-2")
# As Airflow names them.
MANUAL: Any = SimpleNamespace(dag_id="mine", dag_run_id="manual__2026-11-21T22:26:56.1+00:00")


class Stack:
    """Of a stack whose LocalStack and web server are gone."""

    engine = "local"

    def __init__(self, state_folder: Path) -> None:
        self.state_folder = state_folder
        self.settings = Settings.of("tunnel", root=state_folder)
        self.not_deployed: dict[str, str] = {}

    def address(self, service: str) -> str:
        raise OSError(f"{service} does not run")

    def ask(self, service: str, question: str) -> dict[str, str]:
        assert (service, question) == ("localstack", "not_deployed")
        return self.not_deployed

    def memory(self) -> dict[str, float]:
        return {"scheduler": 2e6}

    def write_logs(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "scheduler.log").write_text("the scheduler's")


def stack(tmp_path: Path) -> Any:
    def aws(service: str) -> Any:
        raise OSError("no answer")

    airflow = SimpleNamespace(
        failures=lambda run: [f"why {run.dag_run_id}"],
        import_error_lines=lambda: ["a.py: SyntaxError: bad"],
        task_instances=lambda run: [],
        run=lambda *_: SimpleNamespace(state=DagRunState.FAILED),
        task_log=lambda run, *_: TaskLog([LogRecord(None, "error", f"log of {run.dag_run_id}", "")], []),
    )
    return SimpleNamespace(stack=Stack(tmp_path), airflow=airflow, aws=aws, runs=[RUN, OTHER])


def task(task_id: str, state: str | None = "failed", try_number: int = 1) -> Any:
    return SimpleNamespace(
        task_id=task_id,
        state=TaskInstanceState(state) if state else None,
        map_index=-1,
        try_number=try_number,
        duration=None,
    )


def logs(folder: Path) -> dict[str, str]:
    """The tasks' logs of a bundle, by path."""
    found = (folder / "tasks").rglob("*.log")
    return {str(path.relative_to(folder / "tasks")): path.read_text() for path in found}


class Aws:
    """Clients of an AWS that has functions, and log groups with events, and nothing else."""

    def __init__(self, groups: dict[str, list[dict[str, Any]]], *functions: dict[str, Any]) -> None:
        self._groups = groups
        self._functions = {function["FunctionName"]: function for function in functions}

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=lambda **of: [getattr(self, operation)(**of)])

    def list_functions(self) -> dict[str, Any]:
        return {"Functions": [{"FunctionName": name} for name in self._functions]}

    def get_function_configuration(self, FunctionName: str) -> dict[str, Any]:
        return self._functions[FunctionName]

    def describe_log_groups(self, logGroupNamePrefix: str) -> dict[str, Any]:
        names = [name for name in self._groups if name.startswith(logGroupNamePrefix)]
        return {"logGroups": [{"logGroupName": name} for name in names]}

    def filter_log_events(self, logGroupName: str) -> dict[str, Any]:
        return {"events": self._groups[logGroupName]}


def test_what_cannot_be_had_is_named_and_the_rest_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"

    evidence.write(stack(tmp_path), folder)

    missing = (folder / "missing.txt").read_text().splitlines()
    assert [line.partition(":")[0] for line in missing] == [
        "health/airflow.json",
        "health/localstack.json",
        "health/seeding.json",
        "functions",
        "ecs.json",
        "batch.json",
        "sqs.json",
        "s3.txt",
        "versions.json, airflow",
        "versions.json, localstack",
    ]
    assert missing[0] == "health/airflow.json: OSError: webserver does not run"
    assert json.loads((folder / "versions.json").read_text())["engine"] == "local"
    assert "scheduler: 2 MB" in (folder / "resources.txt").read_text()
    assert (folder / "services" / "scheduler.log").read_text() == "the scheduler's"


def test_the_lines_that_tell_are_of_the_failed_tests_runs_and_then_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"

    lines = evidence.write(stack(tmp_path), folder, [OTHER])

    assert lines == ["mine run-2:", "why run-2", "a.py: SyntaxError: bad"]
    assert (folder / "runs.txt").read_text() == "mine run-2:\nwhy run-2\n"


def test_a_run_that_has_not_ended_is_told_with_its_tasks(tmp_path: Path) -> None:
    of = stack(tmp_path)
    of.airflow.failures = lambda run: []
    of.airflow.run = lambda *_: SimpleNamespace(state=DagRunState.RUNNING)
    of.airflow.task_instances = lambda run: [
        task("list_texts", "success"),
        task("count", "deferred", 2),
        task("write", None, 0),
    ]

    lines = evidence.write(of, tmp_path / "bundle", [RUN])

    assert lines[:5] == [
        "mine run-1:",
        "has not ended; the run is running:",
        "  <TaskInstance list_texts success>, try 1",
        "  <TaskInstance count deferred>, try 2",
        "  <TaskInstance write none>, try 0",
    ]


def test_without_runs_of_its_own_the_sessions_last_are_looked_at(tmp_path: Path) -> None:
    given = stack(tmp_path)
    given.runs = [SimpleNamespace(dag_id="mine", dag_run_id=f"run-{number}") for number in range(21)]
    given.airflow.task_instances = lambda run: [task("work")]
    folder = tmp_path / "bundle"

    lines = evidence.write(given, folder)

    assert lines == ["a.py: SyntaxError: bad"]
    named = re.findall("^mine (.*):$", (folder / "runs.txt").read_text(), re.MULTILINE)
    assert named == [f"run-{number}" for number in range(20, 0, -1)]
    assert len(logs(folder)) == 20


def test_the_logs_are_of_the_failed_tests_tasks(tmp_path: Path) -> None:
    given, folder = stack(tmp_path), tmp_path / "bundle"
    given.airflow.task_instances = lambda run: [task("work")]

    evidence.write(given, folder, [OTHER])

    assert logs(folder) == {
        "dag_id=mine/run_id=run-2/task_id=work/attempt=1.log": " ERROR    log of run-2",
    }


@pytest.mark.parametrize("state", ["failed", "running", "queued", "up_for_retry", "deferred"])
def test_a_task_that_has_not_ended_well_has_its_log_written(tmp_path: Path, state: str) -> None:
    given, folder = stack(tmp_path), tmp_path / "bundle"
    others = [task(f"is-{other}", other) for other in ("success", "skipped", "removed", None)]
    given.airflow.task_instances = lambda run: [*others, task("work", state)]

    evidence.write(given, folder, [RUN])

    assert list(logs(folder)) == ["dag_id=mine/run_id=run-1/task_id=work/attempt=1.log"]


def test_a_log_that_cannot_be_had_keeps_no_other_from_being_written(tmp_path: Path) -> None:
    given, folder = stack(tmp_path), tmp_path / "bundle"
    read = given.airflow.task_log

    def task_log(run: Any, task_id: str, try_number: int, map_index: int) -> TaskLog:
        # Before its first try there is none to ask for.
        assert try_number
        if task_id == "gone":
            raise AirflowApiError("404")
        return read(run)  # type: ignore[no-any-return]

    given.airflow.task_log = task_log
    given.airflow.task_instances = lambda run: [
        task("never", "upstream_failed", try_number=0),
        task("gone"),
        task("work"),
    ]

    evidence.write(given, folder, [RUN])

    assert list(logs(folder)) == ["dag_id=mine/run_id=run-1/task_id=work/attempt=1.log"]
    missing = [line for line in (folder / "missing.txt").read_text().splitlines() if line.startswith("tasks")]
    assert missing == ["tasks/dag_id=mine/run_id=run-1/task_id=gone/attempt=1.log: AirflowApiError: 404"]


def test_no_path_has_what_github_refuses_of_an_artifact(tmp_path: Path) -> None:
    given, folder = stack(tmp_path), tmp_path / "bundle"
    given.airflow.task_instances = lambda run: [task("work")]
    given.aws = lambda service: Aws({"/aws/lambda/a:b": []})

    evidence.write(given, folder, [MANUAL])

    paths = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    assert "tasks/dag_id=mine/run_id=manual__2026-11-21T22_26_56.1+00_00/task_id=work/attempt=1.log" in paths
    assert "functions/aws_lambda_a_b.log" in paths
    assert [path for path in paths if set(path) & set('":<>|*?\r\n')] == []


def test_the_last_events_are_the_latest_of_all_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "LATEST", 2)
    given, folder = stack(tmp_path), tmp_path / "bundle"
    events = [
        {"timestamp": time, "logStreamName": stream, "message": f"{stream}-{time}"}
        for stream, time in (("new", 5), ("new", 7), ("old", 1), ("old", 6))
    ]
    given.aws = lambda service: Aws({"/aws/lambda/mine": events})

    evidence.write(given, folder)

    written = (folder / "functions" / "aws_lambda_mine.log").read_text().splitlines()
    assert [line.split()[-1] for line in written] == ["old-6", "new-7"]


def test_one_service_that_is_gone_takes_no_answer_of_another_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def address(service: str) -> str:
        if service == "webserver":
            raise StackError("webserver does not run")
        return "http://localstack.test"

    def request(method: str, url: str, **_: Any) -> Any:
        return SimpleNamespace(data=url.encode(), json=lambda: {"version": "4.14"})

    def memory() -> dict[str, float]:
        raise StackError("no answer of Docker")

    monkeypatch.setattr(urllib3, "request", request)
    given, folder = stack(tmp_path), tmp_path / "bundle"
    monkeypatch.setattr(given.stack, "address", address)
    monkeypatch.setattr(given.stack, "memory", memory)

    evidence.write(given, folder)

    assert {path.name for path in (folder / "health").iterdir()} == {"localstack.json", "seeding.json"}
    versions = json.loads((folder / "versions.json").read_text())
    assert versions["localstack"] == "4.14"
    assert "airflow" not in versions
    assert "\ndisk: " in (folder / "resources.txt").read_text()
    missing = [line.partition(":")[0] for line in (folder / "missing.txt").read_text().splitlines()]
    assert {"health/airflow.json", "versions.json, airflow", "resources.txt"} <= set(missing)
    assert "versions.json, localstack" not in missing


def test_a_bundle_replaces_the_last_one(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "old.txt").touch()

    evidence.write(stack(tmp_path), folder)

    assert not (folder / "old.txt").exists()


def test_why_functions_are_not_what_they_should_be_is_shown_once(tmp_path: Path) -> None:
    given, folder = stack(tmp_path), tmp_path / "bundle"
    functions = [
        {"FunctionName": "good", "State": "Active", "LastUpdateStatus": "Successful"},
        {"FunctionName": "mine", "State": "Failed", "StateReason": "no such runtime"},
        {"FunctionName": "own", "LastUpdateStatus": "Failed", "LastUpdateStatusReason": "no such role"},
    ]
    given.aws = lambda service: Aws({}, *functions)
    given.stack.not_deployed = {
        "mine": "Lambda does not take mine: no such runtime",
        "other": "lambdas/other/requirements.txt, line 2: frist was not found",
    }

    lines = evidence.write(given, folder)

    wrong = [
        "mine is not deployed: Lambda does not take mine: no such runtime",
        "other is not deployed: lambdas/other/requirements.txt, line 2: frist was not found",
        "the function own is Failed (LastUpdateStatus): no such role",
    ]
    assert lines[-3:] == wrong
    assert (folder / "functions" / "wrong.txt").read_text().splitlines() == wrong


# What ECS, Batch and SQS hold


def with_containers(
    given: Any, monkeypatch: pytest.MonkeyPatch, in_use: Collection[str], **clients: Any
) -> None:
    """Let a stack have these clients, and containers that have written more than a bundle takes."""
    monkeypatch.setattr(aws.Emulator, "of", lambda _: SimpleNamespace(in_use=lambda: in_use))

    def get_log_events(asked: Any) -> Any:
        if asked["logStreamName"].endswith("/404"):
            return written.exceptions.ResourceNotFoundException({"Error": {}}, "GetLogEvents")
        if asked["logStreamName"].endswith("/500"):
            return OSError("no answer")
        assert asked["limit"] == 200
        return {"events": [{"timestamp": 0, "message": f"from {asked['logStreamName']} with {TOKEN}\n"}]}

    written = client("logs", GetLogEvents=get_log_events)
    given.aws = {**clients, "logs": written}.__getitem__


def test_what_services_in_use_hold_is_written_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, folder = stack(tmp_path), tmp_path / "bundle"
    override = {"command": ["run", TOKEN], "environment": [{"name": "PASSWORD", "value": "hunter2"}]}
    task = test_ecs.task(1, overrides={"containerOverrides": [override]})
    clients = {
        "ecs": test_ecs.client([task]),
        "batch": test_batch.client(
            test_batch.job(1, "FAILED", container={"logStreamName": "mine/default/1"})
        ),
        "sqs": test_sqs.client({"results": test_sqs.EMPTY}),
    }
    with_containers(given, monkeypatch, clients, **clients)

    evidence.write(given, folder)

    found = {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}
    (task,) = json.loads(found["ecs.json"])["tasks"]
    assert task["overrides"]["containerOverrides"] == [
        {"command": ["run", "***"], "environment": [{"name": "PASSWORD", "value": "***"}]}
    ]
    assert json.loads(found["batch.json"])["jobs"][0]["jobName"] == "job-1"
    assert json.loads(found["sqs.json"])["queues"][0]["Attributes"] == test_sqs.EMPTY
    assert found["ecs_airflow_airflow_airflow_1.log"].endswith(" from airflow/airflow/1 with ***\n")
    assert "from mine/default/1" in found["aws_batch_job_mine_default_1.log"]
    assert not any(TOKEN in text or "hunter2" in text for text in found.values())


def test_nothing_is_asked_of_a_service_that_is_not_in_use_and_nothing_written_of_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, folder = stack(tmp_path), tmp_path / "bundle"
    with_containers(given, monkeypatch, ["sqs"], sqs=client("sqs", ListQueues={}))

    evidence.write(given, folder)

    assert not [name for name in ("ecs.json", "batch.json", "sqs.json") if (folder / name).exists()]
    missing = (folder / "missing.txt").read_text()
    assert not [name for name in ("ecs.json", "batch.json", "sqs.json") if name in missing]


def test_output_is_of_the_latest_containers_and_one_that_is_not_there_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, folder = stack(tmp_path), tmp_path / "bundle"
    running = [test_ecs.task(number) for number in (*range(1, 40), 404, 500)]
    with_containers(given, monkeypatch, ["ecs"], ecs=test_ecs.client(running))

    evidence.write(given, folder)

    written = {path.stem.rpartition("_")[2] for path in (folder / "containers").iterdir()}
    assert written == {str(number) for number in range(22, 40)}
    assert "containers/airflow/airflow/500: OSError: no answer" in (folder / "missing.txt").read_text()
    assert "404" not in (folder / "missing.txt").read_text()


def test_of_a_functions_variables_the_names_are_written(tmp_path: Path) -> None:
    given, folder = stack(tmp_path), tmp_path / "bundle"
    environment = {"Variables": {"PASSWORD": "hunter2"}}
    given.aws = lambda service: Aws({}, {"FunctionName": "mine", "Environment": environment})

    evidence.write(given, folder)

    (settings,) = json.loads((folder / "functions" / "settings.json").read_text())
    assert settings["Environment"] == {"Variables": {"PASSWORD": "***"}}
