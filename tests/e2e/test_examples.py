"""The example DAGs do what they say."""

from collections.abc import Callable
from typing import Any

import pytest
from airflow_client.client.models.dag_run_response import DAGRunResponse

from windtunnel.airflow_api.client import AirflowClient
from windtunnel.waiting import wait_until

pytestmark = pytest.mark.executor


def test_every_example_runs(
    airflow: AirflowClient, metadata_db: Any, example_runs: dict[str, DAGRunResponse]
) -> None:
    ended = {dag_id: airflow.wait(run, timeout=120) for dag_id, run in example_runs.items()}

    for run in ended.values():
        assert run.state == "success", "\n".join(airflow.failures(run))
    with metadata_db.cursor() as cursor:
        cursor.execute(
            "SELECT dag_id, value FROM xcom WHERE key = 'return_value' AND run_id IN %s AND "
            "(task_id IN ('report', 'add_up') OR dag_id = 'example-lambda-deferrable')",
            (tuple(run.dag_run_id for run in ended.values()),),
        )
        assert dict(cursor.fetchall()) == {
            "example-lambda": "the function has written 1 lines",
            "example-lambda-deferrable": {"lines": 2},
            "example-lambda-mapped": sum(number % 4 for number in range(20)),
        }


Runs = Callable[..., list[DAGRunResponse]]


@pytest.fixture
def ran(airflow: AirflowClient) -> Runs:
    """Run examples of an overlay, all at once."""

    def run(*dag_ids: str) -> list[DAGRunResponse]:
        runs = [airflow.wait(one, timeout=120) for one in [airflow.trigger(dag_id) for dag_id in dag_ids]]
        for one in runs:
            assert one.state == "success", "\n".join(airflow.failures(one))
        return runs

    return run


@pytest.fixture
def container_of(metadata_db: Any) -> Callable[[DAGRunResponse, str], str | None]:
    """What the executor calls the container of a task's last try."""

    def ask(run: DAGRunResponse, task_id: str) -> str | None:
        query = "SELECT external_executor_id FROM task_instance WHERE run_id = %s AND task_id = %s"
        with metadata_db.cursor() as cursor:
            cursor.execute(query, (run.dag_run_id, task_id))
            (found,) = cursor.fetchone()
        return str(found) if found else None

    return ask


@pytest.mark.overlay("ecs")
def test_the_examples_of_ecs(
    airflow: AirflowClient, ran: Runs, container_of: Any, aws_client: Callable[[str], Any]
) -> None:
    tasks, operator, mixed = ran("example-ecs", "example-ecs-operator", "example-mixed")

    assert airflow.xcom(tasks, "build") == {"limits": {"CPU": 0.5, "Memory": 1024}, "report": "of the day"}
    assert airflow.xcom(tasks, "send") == "the report of the day is sent at try 2"
    _says_report(airflow, operator)
    arn = container_of(mixed, "add_up")
    (task,) = aws_client("ecs").describe_tasks(cluster="airflow", tasks=[arn])["tasks"]
    assert (task["cpu"], task["memory"]) == ("2048", "4096")
    _is_mixed(airflow, mixed, container_of)


@pytest.mark.overlay("batch")
def test_the_examples_of_batch(
    airflow: AirflowClient, ran: Runs, container_of: Any, aws_client: Callable[[str], Any]
) -> None:
    tasks, operator, mixed = ran("example-batch", "example-batch-operator", "example-mixed")

    assert airflow.xcom(tasks, "build") == "the report of the day, at attempt 1"
    assert airflow.xcom(tasks, "send").endswith(f"by the job {container_of(tasks, 'send')}")
    _says_report(airflow, operator)
    ids = [container_of(tasks, "build"), container_of(mixed, "add_up")]
    small, large = (aws_client("batch").describe_jobs(jobs=[one])["jobs"][0] for one in ids)
    assert (small["timeout"], small["retryStrategy"]["attempts"]) == ({"attemptDurationSeconds": 300}, 2)
    sizes = {one["type"]: one["value"] for one in large["container"]["resourceRequirements"]}
    assert sizes == {"VCPU": "2", "MEMORY": "4096"}
    _is_mixed(airflow, mixed, container_of)


@pytest.mark.overlay("lambda-executor")
def test_the_examples_of_lambda(airflow: AirflowClient, ran: Runs, container_of: Any) -> None:
    tasks, mixed = ran("example-lambda-executor", "example-mixed")

    assert airflow.xcom(tasks, "send") == "the report of the day is sent"
    assert container_of(tasks, "build")
    assert container_of(tasks, "send") is None
    _is_mixed(airflow, mixed, container_of)


def _says_report(airflow: AirflowClient, run: DAGRunResponse) -> None:
    """The container's line is in the log of the operator's task, which is uploaded after its end."""
    line = f"Report of {run.run_after:%Y-%m-%d}"
    wait_until(
        f"the line {line!r} in the log of {run.dag_id}",
        # The operator for ECS puts the time before it.
        lambda: any(found.message.endswith(line) for found in airflow.task_log(run, "report").records),
        timeout=30,
    )


def _is_mixed(airflow: AirflowClient, run: DAGRunResponse, container_of: Any) -> None:
    """The heavy task alone ran in a container."""
    assert airflow.xcom(run, "report") == f"it comes to {sum(range(1_000_000))}"
    assert [bool(container_of(run, name)) for name in ("choose", "add_up", "report")] == [False, True, False]
