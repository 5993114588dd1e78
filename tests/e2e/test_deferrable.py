"""A task that waits for its function in the triggerer."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from airflow_client.client.models.dag_run_response import DAGRunResponse

from tests.run_logs import UPLOAD_TIMEOUT, Try, deferred_in_s3, events, in_api, in_cloudwatch, raised, streams
from windtunnel.airflow_api.client import AirflowApiError, AirflowClient
from windtunnel.waiting import wait_until

pytestmark = pytest.mark.executor

DEMO_FUNCTION = "airflow-test"
# Of the successful run: time enough to see it deferred.
STEPS = 5
# What the runs of this file's tests are given: function and payloads, one a try.
RUNS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "success": (DEMO_FUNCTION, [{"max_len": STEPS, "interval": 0.8, "fails_at": None}]),
    "failure": (DEMO_FUNCTION, [{"max_len": 3, "interval": 0.5, "fails_at": 2}]),
    "retried": (DEMO_FUNCTION, [{"max_len": 2, "interval": 0, "fails_at": at} for at in (1, None)]),
    "timeout": ("test-relayed", [{"do": "sleep over the timeout"}]),
    "exit": ("test-relayed", [{"do": "end the process"}]),
    "plain": ("test-plain", [{}]),
    "unknown": ("no-such-function", [{}]),
}


@pytest.fixture(scope="module")
def started(airflow: AirflowClient) -> dict[str, DAGRunResponse]:
    """The runs, all of them under way: none holds a slot while it waits."""

    def start(name: str) -> DAGRunResponse:
        function, payloads = RUNS[name]
        dag_id = "test-deferred-retried" if len(payloads) > 1 else "test-deferred"
        return airflow.trigger(dag_id, {"function_name": function, "payloads": payloads})

    return {name: start(name) for name in RUNS}


@pytest.fixture(scope="module")
def ended(airflow: AirflowClient, started: dict[str, DAGRunResponse]) -> Callable[[str], DAGRunResponse]:
    """Wait for one of them."""
    return lambda name: airflow.wait(started[name], timeout=90)


def test_lines_come_while_the_task_is_deferred(
    airflow: AirflowClient, started: dict[str, DAGRunResponse]
) -> None:
    run = started["success"]
    this = Try(run.dag_id, run.dag_run_id, "invoke")

    def partly_there() -> bool:
        (task,) = airflow.task_instances(run)
        lines = in_api(airflow, this, DEMO_FUNCTION) if task.state == "deferred" else []
        return 0 < len(lines) < STEPS

    what = "the first lines of a deferred task's function in its log"
    # Many other runs are under way.
    wait_until(what, partly_there, timeout=90, retry_on=(AirflowApiError,))


@pytest.mark.parametrize(
    ("name", "number", "steps"),
    [("success", 1, STEPS), ("failure", 1, 2), ("retried", 1, 1), ("retried", 2, 2)],
)
def test_a_try_reads_the_same_everywhere(
    airflow: AirflowClient, logs_client: Any, s3_client: Any, ended: Any, name: str, number: int, steps: int
) -> None:
    run = ended(name)

    assert run.state == ("failed" if name == "failure" else "success")
    this = Try(run.dag_id, run.dag_run_id, "invoke", number)
    cloudwatch = in_cloudwatch(logs_client, this, DEMO_FUNCTION)
    of = RUNS[name][1][number - 1]["max_len"]
    assert [line.text for line in cloudwatch[:steps]] == [f"step {step} of {of}" for step in range(steps)]
    # First, as that waits: a log on its way to S3, when the task has its state, is not on the page.
    assert deferred_in_s3(s3_client, this, DEMO_FUNCTION) == cloudwatch
    assert in_api(airflow, this, DEMO_FUNCTION) == cloudwatch


def test_the_result_becomes_the_xcom(metadata_db: Any, ended: Any) -> None:
    run = ended("success")

    with metadata_db.cursor() as cursor:
        cursor.execute("SELECT value FROM xcom WHERE run_id = %s AND key = 'return_value'", (run.dag_run_id,))
        assert cursor.fetchall() == [({"lines": STEPS},)]


@pytest.mark.parametrize(
    ("name", "exception"),
    [
        ("failure", r"LambdaFunctionFailed: airflow-test failed: DemoFailure: failed at step 2"),
        ("timeout", r"LambdaTimedOut: .*Task timed out after 4\.00 seconds"),
        ("exit", r"LambdaFunctionFailed: .*exit status 7"),
        ("plain", r"LambdaOutcomeUnknown: .*has ended.* decorated with @airflow_relay\.relay"),
        ("unknown", r"LambdaNotFound: .*no-such-function"),
    ],
)
def test_a_function_that_does_not_end_well_fails_the_task_with_the_reason(
    airflow: AirflowClient, ended: Any, name: str, exception: str
) -> None:
    run = ended(name)

    assert run.state == "failed"
    # Airflow uploads the end of the log after the task has its state; until then it ends with the deferral.
    reason = wait_until(
        "the exception in the task log",
        lambda: raised(airflow.task_log(run, "invoke")),
        timeout=UPLOAD_TIMEOUT,
        # There is none in it yet.
        retry_on=(ValueError,),
    )
    assert re.match(exception, reason), reason


def test_an_event_that_lambda_delivers_again_runs_the_handler_once(
    lambda_client: Any, logs_client: Any, ended: Any
) -> None:
    """As Lambda does a minute after a failure, and now and then without one."""
    run = ended("failure")
    this = Try(run.dag_id, run.dag_run_id, "invoke")
    (stream,) = streams(logs_client, this, DEMO_FUNCTION)
    before = events(logs_client, stream, DEMO_FUNCTION)

    again = {
        **RUNS["failure"][1][0],
        "group_name": f"/airflow/lambda/{DEMO_FUNCTION}",
        "stream_name": stream,
        "airflow_relay": {"version": 1, "idempotency_key": this.stream_key, "asynchronous": True},
    }
    answer = lambda_client.invoke(FunctionName=DEMO_FUNCTION, Payload=json.dumps(again))

    assert "FunctionError" not in answer
    assert json.load(answer["Payload"]) is None
    assert events(logs_client, stream, DEMO_FUNCTION) == before
