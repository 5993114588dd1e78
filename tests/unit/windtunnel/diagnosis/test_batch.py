import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from windtunnel.diagnosis import batch
from windtunnel.diagnosis.containers import Stream, clock

from ..stand_ins import aws
from .test_containers import workload

NOW = round(time.time()) * 1000
CLOCK = clock(datetime.fromtimestamp(NOW / 1000, UTC))
QUEUE = "arn:aws:batch:ap-southeast-2:000000000000:job-queue/airflow"
ENVIRONMENT = {
    "computeEnvironmentName": "small",
    "computeEnvironmentArn": "arn:aws:batch:ap-southeast-2:000000000000:compute-environment/small",
    "state": "ENABLED",
    "status": "VALID",
    "statusReason": "ComputeEnvironment Healthy",
    "computeResources": {"type": "FARGATE", "maxvCpus": 4, "subnets": []},
}
TOO_BIG = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - cannot meet the CPU requirement"


def job(number: int, status: str, reason: str = "", **values: Any) -> dict[str, Any]:
    described: dict[str, Any] = {
        "jobId": f"id-{number}",
        "jobName": f"job-{number}",
        "status": status,
        "createdAt": NOW + number,
    }
    if status in ("SUCCEEDED", "FAILED"):
        described["stoppedAt"] = NOW + number
    if reason:
        described["statusReason"] = reason
    given = {"jobQueue": QUEUE, "jobDefinition": "airflow:1", "startedAt": NOW}
    return {**given, **described, **values}


def client(
    *jobs: dict[str, Any],
    state: str = "ENABLED",
    environment: Any = ENVIRONMENT,
    children: Sequence[dict[str, Any]] = (),
) -> Any:
    """A client of a Batch with one environment and one queue."""
    described = {one["jobId"]: one for one in (*jobs, *children)}

    def list_jobs(asked: Any) -> dict[str, Any]:
        found = jobs if asked.get("jobQueue") == QUEUE else children if asked["arrayJobId"] else ()
        names = ("jobId", "jobName", "status", "createdAt", "stoppedAt", "statusReason", "arrayProperties")
        summaries = [
            {name: one[name] for name in names if name in one}
            for one in found
            if one["status"] == asked["jobStatus"]
        ]
        # In no order.
        return {"jobSummaryList": summaries[::-1]}

    queue = {
        "jobQueueName": "airflow",
        "jobQueueArn": QUEUE,
        "state": state,
        "status": "VALID",
        "priority": 1,
        "computeEnvironmentOrder": [],
    }
    return aws.client(
        "batch",
        DescribeComputeEnvironments={"computeEnvironments": [environment]},
        DescribeJobQueues={"jobQueues": [queue]},
        DescribeJobDefinitions={"jobDefinitions": []},
        ListJobs=list_jobs,
        DescribeJobs=lambda asked: {"jobs": [described[name] for name in asked["jobs"]]},
    )


def test_without_environments_and_queues_nothing_is_said() -> None:
    empty = aws.client(
        "batch", DescribeComputeEnvironments={"computeEnvironments": []}, DescribeJobQueues={"jobQueues": []}
    )

    assert list(batch.rows(empty)) == []


def test_environment_and_queue_say_what_they_are() -> None:
    assert list(batch.rows(client(job(1, "SUCCEEDED"), job(2, "SUCCEEDED"), state="DISABLED"))) == [
        ("small", "ENABLED", "compute environment, FARGATE, 4 vCPUs at most"),
        ("airflow", "DISABLED", "job queue: 2 SUCCEEDED"),
    ]


def test_why_an_environment_is_not_valid_is_said() -> None:
    invalid = {**ENVIRONMENT, "status": "INVALID", "statusReason": "CLIENT_ERROR - no role"}

    (_, _, about), _ = batch.rows(client(environment=invalid))

    assert about.endswith(": INVALID: CLIENT_ERROR - no role")


def test_jobs_at_work_say_since_when_and_whose_they_are() -> None:
    _, _, *rows = batch.rows(
        client(job(1, "RUNNING", container={"command": [workload()]}), job(2, "STARTING"), job(3, "RUNNABLE"))
    )

    assert rows == [
        ("  job-2", "STARTING", f"since {CLOCK}"),
        ("  job-1", "RUNNING", f"since {CLOCK}: mine.count, try 2"),
    ]


def test_a_job_that_waits_with_a_reason_says_it() -> None:
    _, _, row = batch.rows(client(job(1, "RUNNABLE", TOO_BIG)))

    assert row == ("  job-1", "RUNNABLE", f"since {CLOCK}: {TOO_BIG}")


def test_a_job_that_failed_says_why() -> None:
    container = {"exitCode": 137, "reason": "OutOfMemoryError: killed", "command": ["python"]}

    _, _, row = batch.rows(
        client(job(1, "FAILED", "Essential container in task exited", container=container))
    )

    why = "Essential container in task exited, exit code 137, OutOfMemoryError: killed"
    assert row == ("  job-1", "failed", f"{CLOCK}: {why}")


def test_of_many_jobs_the_oldest_at_work_and_the_last_that_failed_are_listed() -> None:
    jobs = [job(number, "RUNNING") for number in range(25)]
    jobs += [job(100 + number, "FAILED", "it failed") for number in range(1200)]

    _, (_, _, about), *rows = batch.rows(client(*jobs))

    assert about == "job queue: 25 RUNNING, 1,200 FAILED"
    assert [row[0].strip() for row in rows] == [
        *(f"job-{number}" for number in range(10)),
        "and 15 more",
        *(f"job-{number}" for number in (1299, 1298, 1297, 1296, 1295)),
    ]


@pytest.mark.parametrize(
    ("held", "number"),
    [(client(), None), (client(job(1, "STARTING")), 1), (client(job(1, "FAILED"), job(2, "RUNNING")), 0)],
)
def test_how_many_wait_for_an_agent_is_known_if_there_are_jobs_at_all(held: Any, number: int | None) -> None:
    assert batch.waiting(held) == number


def test_a_job_for_which_there_will_never_be_room_is_found_with_those_behind_it() -> None:
    (found,) = batch.stuck(client(job(1, "RUNNABLE", TOO_BIG), job(2, "RUNNABLE"), job(3, "RUNNABLE")))

    assert found.problem == (
        f"the job job-1 of the queue airflow cannot begin, and 2 more of the queue wait behind it: {TOO_BIG}"
    )
    assert "aws batch terminate-job --job-id id-1" in found.remedy
    assert "maxvCpus" in found.remedy


def test_jobs_that_wait_for_their_turn_are_not_found() -> None:
    assert (
        list(batch.stuck(client(job(1, "RUNNABLE"), job(2, "RUNNABLE", "Essential container exited")))) == []
    )


@pytest.mark.parametrize(
    ("name", "state", "is_found"),
    [("airflow", "DISABLED", True), ("airflow", "ENABLED", False), ("other", "DISABLED", False)],
)
def test_a_disabled_queue_of_the_executor_is_found(name: str, state: str, is_found: bool) -> None:
    found = list(batch.disabled(client(state=state), name))

    assert bool(found) == is_found
    assert all("update-job-queue --job-queue airflow --state ENABLED" in one.remedy for one in found)


def test_the_bundle_has_the_latest_jobs_and_children_that_failed() -> None:
    jobs = [job(number, "SUCCEEDED") for number in range(200)]
    array = job(500, "FAILED", "Array Child Job failed", arrayProperties={"size": 2})
    children = [job(501, "FAILED", jobId="id-500:0"), job(502, "SUCCEEDED", jobId="id-500:1")]

    found = batch.held(client(*jobs, array, children=children))

    assert [one["jobId"] for one in found["jobs"]] == [
        *(f"id-{number}" for number in range(101, 200)),
        "id-500",
        "id-500:0",
    ]
    assert found["computeEnvironments"] == [ENVIRONMENT]


def test_output_is_of_every_attempt_of_jobs_that_run_or_have_failed() -> None:
    def ran(*names: str) -> dict[str, Any]:
        attempts = [{"container": {"logStreamName": name}} for name in names]
        return {"container": {"logStreamName": names[-1]}, "attempts": attempts}

    own = {"logDriver": "awslogs", "options": {"awslogs-group": "/own"}}
    held = batch.held(
        client(
            job(1, "FAILED", **ran("a1", "a2")),
            job(2, "SUCCEEDED", **ran("b")),
            job(3, "RUNNING", container={"logStreamName": "c", "logConfiguration": own}),
            job(4, "FAILED"),
        )
    )

    group = "/aws/batch/job"
    assert list(batch.streams(held)) == [Stream("/own", "c"), Stream(group, "a2"), Stream(group, "a1")]
