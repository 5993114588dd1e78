"""LocalStack keeps only S3 over a restart, and may go away in the middle of a call."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.run_logs import (
    Try,
    deferred_in_s3,
    in_api,
    in_cloudwatch,
    in_s3,
    invocations,
    raised,
    s3_object,
)
from tests.support import BUCKET, StackUnderTest
from windtunnel.airflow_api.client import AirflowApiError
from windtunnel.waiting import wait_until

FUNCTION = "airflow-test"
TALKATIVE = "test-talkative"
PLAIN = "test-plain"
QUICK = {"payloads": [{"max_len": 2, "interval": 0, "fails_at": None}]}
# Some seconds: time enough to break something meanwhile.
SLOW = {"payloads": [{"max_len": 12, "interval": 0.5, "fails_at": None}]}
# From a broken connection to the end of the run; the operator's own margins are shorter.
BOUND = 30.0


def address(stack: StackUnderTest) -> str:
    """LocalStack's, as tasks know it."""
    return stack.stack.variables("scheduler")["AWS_ENDPOINT_URL"]


def start_slow_run(stack: StackUnderTest) -> Try:
    """Start a run and wait until its function is at work."""
    airflow = stack.airflow
    run = airflow.trigger("test-once", SLOW)
    this = Try(run.dag_id, run.dag_run_id, "invoke")
    wait_until(
        "the function's first line",
        partial(in_api, airflow, this, FUNCTION),
        timeout=30,
        retry_on=(AirflowApiError,),
    )
    return this


def delete_bucket(stack: StackUnderTest) -> None:
    """Delete the bucket of the task logs and all that is in it."""
    s3 = stack.aws("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for found in page.get("Contents", []):
            s3.delete_object(Bucket=BUCKET, Key=found["Key"])
    s3.delete_bucket(Bucket=BUCKET)


def restart(stack: StackUnderTest) -> None:
    """Restart LocalStack, which then makes again what is missing."""
    stack.restart("localstack")
    stack.wait_for_health("localstack")


@pytest.fixture
def bucket_comes_back(stack: StackUnderTest) -> Iterator[None]:
    """Other tests need the bucket that this test deletes."""
    yield
    restart(stack)


@pytest.mark.usefixtures("bucket_comes_back")
def test_a_missing_bucket_does_not_fail_the_task(stack: StackUnderTest) -> None:
    """The run's state is right and its log can be read from the local copy."""
    airflow = stack.airflow
    this = start_slow_run(stack)
    delete_bucket(stack)

    run = airflow.wait(airflow.run(this.dag_id, this.run_id), timeout=60)

    assert run.state == "success"
    wait_until(
        "the scheduler to say that the upload failed",
        lambda: "NoSuchBucket" in stack.stack.logs("scheduler"),
        timeout=20,
    )
    log = airflow.task_log(run, this.task_id)
    missing, local = log.sources
    assert "NoSuchBucket" in missing
    assert local == f"{stack.logs_folder}/{this.path}"
    assert len(in_api(airflow, this, FUNCTION)) == 12


def test_after_a_restart_everything_is_there_again(stack: StackUnderTest) -> None:
    """A bucket that was deleted is there again, too."""
    delete_bucket(stack)

    restart(stack)

    run = stack.airflow.wait(stack.airflow.trigger("test-once", QUICK), timeout=60)

    assert run.state == "success"
    this = Try(run.dag_id, run.dag_run_id, "invoke")
    s3 = stack.aws("s3")
    there = partial(s3.head_object, Bucket=BUCKET, Key=this.path)
    wait_until("the log in S3", there, timeout=20, retry_on=(ClientError,))
    names = {function["FunctionName"] for function in stack.aws("lambda").list_functions()["Functions"]}
    assert names == {FUNCTION, "test-plain", "test-relayed", TALKATIVE}
    groups = {group["logGroupName"] for group in stack.aws("logs").describe_log_groups()["logGroups"]}
    assert f"/airflow/lambda/{FUNCTION}" in groups


def test_s3_survives_a_kill(stack: StackUnderTest) -> None:
    """Also what it had answered the moment before; the log of an earlier run is still read from it."""
    airflow, s3 = stack.airflow, stack.aws("s3")
    run = airflow.wait(airflow.trigger("test-once", QUICK), timeout=60)
    this = Try(run.dag_id, run.dag_run_id, "invoke")
    before = s3_object(s3, this)
    for key in ("test/kept", "test/deleted"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"old")
    s3.delete_object(Bucket=BUCKET, Key="test/deleted")
    s3.put_object(Bucket=BUCKET, Key="test/kept", Body=b"new", Metadata={"by": "a test"}, Tagging="kind=test")

    stack.kill("localstack")
    stack.start("localstack")
    stack.wait_for_health("localstack")

    s3 = stack.aws("s3")
    after = s3_object(s3, this)
    for name in ("Body", "ETag", "LastModified", "ContentLength", "ContentType"):
        assert after[name] == before[name], name
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="test/")["Contents"]
    assert [found["Key"] for found in listed] == ["test/kept"]
    kept = s3.get_object(Bucket=BUCKET, Key="test/kept")
    assert (kept["Body"].read(), kept["Metadata"]) == (b"new", {"by": "a test"})
    tags = s3.get_object_tagging(Bucket=BUCKET, Key="test/kept")["TagSet"]
    assert tags == [{"Key": "kind", "Value": "test"}]
    log = airflow.task_log(run, this.task_id)
    assert log.sources
    assert all(source.startswith("s3://") for source in log.sources), log.sources


FIRST_CALLS = 20


@pytest.mark.parametrize("start", [1, *(pytest.param(n, marks=pytest.mark.rare) for n in range(2, 21))])
def test_the_first_calls_after_a_start_may_come_at_once(stack: StackUnderTest, start: int) -> None:
    """Each waits for an execution environment of its own, and none for one that never comes."""
    restart(stack)
    clients = [stack.aws("lambda") for _ in range(FIRST_CALLS)]
    together = threading.Barrier(FIRST_CALLS)

    def call(client: Any) -> tuple[Any, bytes]:
        together.wait(timeout=30)
        answer = client.invoke(FunctionName=PLAIN, Payload=b'{"a": 1}')
        return answer.get("FunctionError"), answer["Payload"].read()

    with ThreadPoolExecutor(FIRST_CALLS) as pool:
        answers = list(pool.map(call, clients, timeout=120))
    assert answers == [(None, b'{"keys": ["a"]}')] * FIRST_CALLS, f"start {start}"


def test_killed_in_the_middle_of_a_call_the_task_fails_and_calls_no_second_time(
    stack: StackUnderTest,
) -> None:
    this = start_slow_run(stack)

    stack.kill("localstack")
    stack.start("localstack")
    run = stack.airflow.wait(stack.airflow.run(this.dag_id, this.run_id), timeout=BOUND)

    assert run.state == "failed"
    reason = raised(stack.airflow.task_log(run, this.task_id))
    assert reason.startswith("LambdaOutcomeUnknown: ")
    assert address(stack) in reason
    assert "not invoked again" in reason
    stack.wait_for_health("localstack")
    # It starts with an empty memory, so whatever it has seen came after the kill.
    assert invocations(stack.aws("logs"), FUNCTION) == 0


def test_away_for_twenty_seconds_in_the_middle_of_two_calls_it_loses_nothing(stack: StackUnderTest) -> None:
    """One task waits for the answer, the other one is deferred; each has called its function once."""
    airflow, logs, s3 = stack.airflow, stack.aws("logs"), stack.aws("s3")
    before = invocations(logs, TALKATIVE)
    conf = {"function_name": TALKATIVE, "payloads": [{"lines": 80, "seconds": 8}]}
    runs = [airflow.trigger(dag_id, conf) for dag_id in ("test-once", "test-deferred")]
    waiting, deferred = (Try(run.dag_id, run.dag_run_id, "invoke") for run in runs)
    for this in (waiting, deferred):
        lines = partial(in_api, airflow, this, TALKATIVE)
        wait_until(f"lines of {this.dag_id}", lines, timeout=30, retry_on=(AirflowApiError,))

    with stack.paused("localstack"):
        stay_away(20)

    assert [airflow.wait(run, timeout=90).state for run in runs] == ["success", "success"]
    stored = {
        waiting: in_s3(s3_object(s3, waiting)["Body"], TALKATIVE),
        deferred: deferred_in_s3(s3, deferred, TALKATIVE),
    }
    for this in (waiting, deferred):
        # A request may have been under way when everything stood still.
        cloudwatch = in_cloudwatch(logs, this, TALKATIVE, repeated=True)
        assert len(cloudwatch) == 80
        assert in_api(airflow, this, TALKATIVE) == cloudwatch
        assert stored[this] == cloudwatch
    assert invocations(logs, TALKATIVE) == before + 2


def stay_away(seconds: float) -> None:
    """Let time pass: how long it is away is what the test is about."""
    back = time.monotonic() + seconds
    wait_until(f"{seconds:g} s to pass", lambda: time.monotonic() >= back, timeout=seconds + 5)


def test_while_it_is_down_a_task_fails_and_names_the_address(stack: StackUnderTest) -> None:
    stack.kill("localstack")
    try:
        run = stack.airflow.wait(stack.airflow.trigger("test-impatient", QUICK), timeout=BOUND)
    finally:
        stack.start("localstack")

    assert run.state == "failed"
    reason = raised(stack.airflow.task_log(run, "invoke"))
    assert reason.startswith("LambdaUnreachable: ")
    assert address(stack) in reason
