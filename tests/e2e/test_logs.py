"""For one run: lines emitted = events in CloudWatch = task log by API = this try's object in S3."""

import re
from typing import Any

import pytest
from airflow_client.client.models.dag_run_response import DAGRunResponse

from tests.run_logs import Try, in_api, in_cloudwatch, in_s3, s3_object, streams
from tests.support import StackUnderTest
from windtunnel.airflow_api.client import AirflowApiError, AirflowClient
from windtunnel.waiting import wait_until

pytestmark = pytest.mark.executor

DEMO_FUNCTION = "airflow-test"
TRACEBACK = re.compile(
    r"Traceback \(most recent call last\):\n"
    r'  File ".*lambda_function\.py", line \d+, in lambda_handler\n'
    r"(.*\n)*"
    r"(\w+\.)*DemoFailure: failed at step 2 of 3, .*"
)


# Of the run whose lines are looked at while it goes on.
STEPS = 6
PAYLOAD: dict[str, Any] = {"max_len": 2, "interval": 0}
# The runs of this file's tests, DAG and configuration; started together, as some take seconds.
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "live": ("test-once", {"payloads": [{"max_len": STEPS, "interval": 1, "fails_at": None}]}),
    "success": ("demo-dag", {"max_len": 3, "interval": 0.1, "fails_at": None}),
    "failure": ("demo-dag", {"max_len": 3, "interval": 0.1, "fails_at": 2}),
    "gone, success": ("test-once", {"payloads": [PAYLOAD | {"fails_at": None}]}),
    "gone, failure": ("test-once", {"payloads": [PAYLOAD | {"fails_at": 1}]}),
}


@pytest.fixture(scope="module")
def started(airflow: AirflowClient) -> dict[str, DAGRunResponse]:
    return {name: airflow.trigger(dag_id, conf) for name, (dag_id, conf) in RUNS.items()}


def test_lines_come_while_the_function_runs(
    airflow: AirflowClient, started: dict[str, DAGRunResponse]
) -> None:
    run = started["live"]
    this = Try("test-once", run.dag_run_id, "invoke")

    def partly_there() -> bool:
        lines = in_api(airflow, this, DEMO_FUNCTION)
        return 0 < len(lines) < STEPS and airflow.run(run.dag_id, run.dag_run_id).state == "running"

    wait_until(
        "the first lines of a running function in the task log",
        partly_there,
        # Many other runs are under way.
        timeout=90,
        retry_on=(AirflowApiError,),
    )


@pytest.mark.parametrize(
    ("name", "state", "steps"),
    [("success", "success", 3), ("failure", "failed", 2)],
    ids=["success", "failure"],
)
def test_one_run_reads_the_same_everywhere(
    airflow: AirflowClient,
    logs_client: Any,
    s3_client: Any,
    started: dict[str, DAGRunResponse],
    name: str,
    state: str,
    steps: int,
) -> None:
    run = airflow.wait(started[name], timeout=90)
    demo = Try("demo-dag", run.dag_run_id, "demo-task")
    stored = s3_object(s3_client, demo)

    cloudwatch = in_cloudwatch(logs_client, demo, DEMO_FUNCTION)

    assert run.state == state
    assert [(line.level, line.text) for line in cloudwatch[:steps]] == [
        ("info", f"step {step} of 3") for step in range(steps)
    ]
    if state == "failed":
        (traceback,) = cloudwatch[steps:]
        assert traceback.level == "error"
        assert TRACEBACK.fullmatch(traceback.text), traceback.text
    else:
        assert cloudwatch[steps:] == []
    assert in_api(airflow, demo, DEMO_FUNCTION) == cloudwatch
    assert in_s3(stored["Body"], DEMO_FUNCTION) == cloudwatch
    # S3 would encrypt unasked, too: that it is asked for is a check of tests/stack/test_config.py.
    assert stored["ServerSideEncryption"] == "AES256"


def test_each_try_has_a_stream_and_an_object_of_its_own(
    airflow: AirflowClient, logs_client: Any, s3_client: Any
) -> None:
    conf = {"payloads": [PAYLOAD | {"fails_at": 1}, PAYLOAD | {"fails_at": None}]}
    run = airflow.trigger("test-retried", conf)
    first, second = (Try("test-retried", run.dag_run_id, "invoke", number) for number in (1, 2))
    after_first = s3_object(s3_client, first)
    lines_after_first = in_cloudwatch(logs_client, first, DEMO_FUNCTION)

    run = airflow.wait(run, timeout=60)

    assert run.state == "success"
    after_second = s3_object(s3_client, second)
    assert streams(logs_client, first, DEMO_FUNCTION) != streams(logs_client, second, DEMO_FUNCTION)
    lines = in_cloudwatch(logs_client, second, DEMO_FUNCTION)
    assert [line.text for line in lines] == ["step 0 of 2", "step 1 of 2"]
    assert in_s3(after_second["Body"], DEMO_FUNCTION) == in_api(airflow, second, DEMO_FUNCTION) == lines
    # The first try's are as they were.
    assert [line.text for line in lines_after_first][:-1] == ["step 0 of 2"]
    assert "DemoFailure: failed at step 1 of 2" in lines_after_first[-1].text
    assert in_cloudwatch(logs_client, first, DEMO_FUNCTION) == lines_after_first
    assert in_api(airflow, first, DEMO_FUNCTION) == lines_after_first
    again = s3_object(s3_client, first)
    assert (again["ETag"], again["LastModified"]) == (after_first["ETag"], after_first["LastModified"])


@pytest.mark.parametrize(("name", "state"), [("gone, success", "success"), ("gone, failure", "failed")])
def test_the_log_can_be_read_when_the_local_files_are_gone(
    airflow_stack: StackUnderTest,
    airflow: AirflowClient,
    logs_client: Any,
    s3_client: Any,
    started: dict[str, DAGRunResponse],
    name: str,
    state: str,
) -> None:
    run = airflow.wait(started[name], timeout=60)
    assert run.state == state
    this = Try("test-once", run.dag_run_id, "invoke")
    s3_object(s3_client, this)

    for service in ("scheduler", "webserver"):
        # The two share a folder: the second time there is nothing left.
        folder = f"{airflow_stack.logs_folder}/dag_id={this.dag_id}/run_id={this.run_id}"
        airflow_stack.stack.exec(service, "rm", "--recursive", "--force", folder)

    log = airflow.task_log(run, this.task_id)
    assert log.sources
    assert all(source.startswith("s3://") for source in log.sources), log.sources
    assert in_api(airflow, this, DEMO_FUNCTION) == in_cloudwatch(logs_client, this, DEMO_FUNCTION)


def test_all_lines_are_there_at_the_end(airflow: AirflowClient, started: dict[str, DAGRunResponse]) -> None:
    run = airflow.wait(started["live"], timeout=60)

    assert len(in_api(airflow, Try("test-once", run.dag_run_id, "invoke"), DEMO_FUNCTION)) == STEPS
