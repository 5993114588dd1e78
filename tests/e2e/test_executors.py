"""What users of any executor expect; run with each overlay that has one of its own."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow_client.client.models.dag_run_response import DAGRunResponse

from tests.executor_runs import at_work, starts
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.diagnosis import evidence
from windtunnel.testing.stack import RunningStack
from windtunnel.waiting import wait_until

pytestmark = pytest.mark.executor

DAGS = ("test-executor", "test-executor-fails", "test-executor-defers", "test-executor-many")


@pytest.fixture(scope="module")
def runs(airflow: AirflowClient) -> dict[str, DAGRunResponse]:
    """The runs, all of them under way."""
    return {dag_id: airflow.trigger(dag_id) for dag_id in DAGS}


@pytest.fixture(scope="module")
def ended(airflow: AirflowClient, runs: dict[str, DAGRunResponse]) -> Callable[[str], DAGRunResponse]:
    """Wait for one of them."""
    return lambda dag_id: airflow.wait(runs[dag_id], timeout=300)


def test_xcom_passes_between_tasks_whoever_runs_them(airflow: AirflowClient, ended: Any) -> None:
    run = ended("test-executor")

    assert run.state == "success", "\n".join(airflow.failures(run))
    one, other = airflow.xcom(run, "add")
    assert one
    assert other


def test_a_task_that_fails_is_tried_again(airflow: AirflowClient, ended: Any) -> None:
    run = ended("test-executor")

    assert airflow.xcom(run, "fail_once") == 2
    (task,) = [one for one in airflow.task_instances(run) if one.task_id == "fail_once"]
    assert task.try_number == 2


def test_the_reason_of_a_failure_is_in_the_task_log(airflow: AirflowClient, ended: Any) -> None:
    run = ended("test-executor-fails")

    assert run.state == "failed"
    wait_until(
        "the exception in the task's log",
        lambda: "ValueError: this task fails" in "\n".join(airflow.task_log(run, "fail").telling_lines()),
        timeout=30,
    )


def test_tasks_that_defer_for_no_time_end_well(airflow: AirflowClient, ended: Any) -> None:
    run = ended("test-executor-defers")

    assert run.state == "success", "\n".join(airflow.failures(run))


def test_of_a_hundred_tasks_each_runs_once(airflow: AirflowClient, s3_client: Any, ended: Any) -> None:
    run = ended("test-executor-many")

    assert run.state == "success", "\n".join(airflow.failures(run))
    assert starts(s3_client, run.dag_run_id) == sorted(map(str, range(100)))


def test_a_task_that_is_stopped_on_the_page_ends(
    airflow: AirflowClient, windtunnel: RunningStack, s3_client: Any
) -> None:
    run = airflow.trigger("test-executor-waits")
    wait_until("tasks to have started", lambda: starts(s3_client, run.dag_run_id), timeout=60)
    airflow.fail(run)

    wait_until(
        "no task of the run to be at work",
        lambda: not _unfinished(airflow, run),
        timeout=90,
    )


def test_no_token_of_a_task_is_in_the_failure_bundle(
    windtunnel: RunningStack, ended: Any, tmp_path: Path
) -> None:
    run = ended("test-executor-fails")

    evidence.write(windtunnel, tmp_path / "bundle", [run])

    files = [path for path in (tmp_path / "bundle").rglob("*") if path.is_file()]
    # As a token begins: two parts of JSON in base64.
    assert [path.name for path in files if re.search(r"eyJ\w+\.eyJ", path.read_text())] == []


def _unfinished(airflow: AirflowClient, run: DAGRunResponse) -> list[str]:
    return [
        task.task_id
        for task in airflow.task_instances(run)
        if task.state in ("running", "queued", "scheduled")
    ]


@pytest.mark.overlay("ecs", "batch", "lambda-executor")
def test_nothing_is_left_at_work(ended: Any, aws_client: Callable[[str], Any]) -> None:
    """Nor of the run that was stopped, whose tasks would wait for ever."""
    for dag_id in DAGS:
        ended(dag_id)

    wait_until("tasks and jobs to have ended", lambda: not at_work(aws_client), timeout=60)


@pytest.mark.overlay("ecs", "batch", "lambda-executor")
def test_a_task_has_neither_secrets_nor_the_database(airflow: AirflowClient, ended: Any) -> None:
    seen = airflow.xcom(ended("test-executor"), "where")

    assert (seen["secrets"], seen["database"]) == (None, None)


@pytest.mark.overlay("ecs")
class TestEcs:
    """Tasks as ECS shows them."""

    def test_a_task_is_a_task_of_ecs_whose_output_is_in_cloudwatch(
        self, metadata_db: Any, ended: Any, aws_client: Callable[[str], Any]
    ) -> None:
        run = ended("test-executor")
        ecs, logs = aws_client("ecs"), aws_client("logs")
        query = "SELECT task_id, external_executor_id FROM task_instance WHERE run_id = %s"
        with metadata_db.cursor() as cursor:
            cursor.execute(query, (run.dag_run_id,))
            arns = dict(cursor.fetchall())
        assert not (arns["elsewhere"] or "").startswith("arn:")

        (task,) = ecs.describe_tasks(cluster="airflow", tasks=[arns["where"]])["tasks"]
        (container,) = task["containers"]
        assert (task["lastStatus"], task["launchType"], container["exitCode"]) == ("STOPPED", "FARGATE", 0)
        assert task["createdAt"] <= task["startedAt"] <= task["executionStoppedAt"] <= task["stoppedAt"]
        stream = f"airflow/airflow/{arns['where'].rpartition('/')[2]}"
        events = logs.get_log_events(logGroupName="/ecs/airflow", logStreamName=stream, startFromHead=True)
        assert any("Executing workload" in event["message"] for event in events["events"])
