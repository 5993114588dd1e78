"""What Batch holds: compute environments, job queues and their jobs."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import batched
from typing import Any

from windtunnel.diagnosis.containers import (
    AT_WORK,
    FAILED,
    INDENT,
    LATEST,
    Row,
    Stream,
    airflow_task,
    clock,
    more,
    note,
    outcome,
)
from windtunnel.stack.errors import Finding

type Described = Mapping[str, Any]

STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
ACTIVE = ("STARTING", "RUNNING")

# How many jobs a call describes.
MOST_DESCRIBED = 100

# Where jobs write to whose definition names no group.
GROUP = "/aws/batch/job"

# How Batch begins the reason of a job that waits in vain.
# https://docs.aws.amazon.com/batch/latest/userguide/job_stuck_in_runnable.html
NEVER = "MISCONFIGURATION:"


def _queues(batch: Any) -> list[Described]:
    pages = batch.get_paginator("describe_job_queues").paginate()
    return [queue for page in pages for queue in page["jobQueues"]]


def _environments(batch: Any) -> list[Described]:
    pages = batch.get_paginator("describe_compute_environments").paginate()
    return [environment for page in pages for environment in page["computeEnvironments"]]


def _jobs(batch: Any, status: str, **of: str) -> list[Described]:
    """Return the jobs of a status, summed up, the oldest first.

    :param of: ``jobQueue``, or ``arrayJobId``.
    """
    pages = batch.get_paginator("list_jobs").paginate(jobStatus=status, **of)
    jobs = [job for page in pages for job in page["jobSummaryList"]]
    return sorted(jobs, key=lambda job: job["createdAt"])


def _described(batch: Any, jobs: Iterable[Described]) -> list[Described]:
    return [
        job
        for some in batched((job["jobId"] for job in jobs), MOST_DESCRIBED)
        for job in batch.describe_jobs(jobs=list(some))["jobs"]
    ]


def rows(batch: Any) -> Iterator[Row]:
    """Yield a row for each environment and each queue; below a queue those for its jobs at work and failed.

    :param batch: boto3's client.
    """
    for environment in _environments(batch):
        resources = environment.get("computeResources", {})
        size = f"{resources['maxvCpus']} vCPUs at most" if "maxvCpus" in resources else ""
        kind = ", ".join(filter(None, ("compute environment", resources.get("type"), size)))
        yield environment["computeEnvironmentName"], environment["state"], note(kind, _invalid(environment))
    for queue in _queues(batch):
        jobs = {status: _jobs(batch, status, jobQueue=queue["jobQueueArn"]) for status in STATUSES}
        counts = [f"{len(found):,} {status}" for status, found in jobs.items() if found]
        about = note("job queue", ", ".join(counts) or "no jobs", _invalid(queue))
        yield queue["jobQueueName"], queue["state"], about
        waiting = [
            job for status in ("PENDING", "RUNNABLE") for job in jobs[status] if job.get("statusReason")
        ]
        at_work = [*waiting[:FAILED], *jobs["STARTING"], *jobs["RUNNING"]]
        failed = sorted(jobs["FAILED"], key=lambda job: job.get("stoppedAt", 0), reverse=True)[:FAILED]
        yield from map(_row, _described(batch, at_work[:AT_WORK]))
        yield from more(AT_WORK, len(at_work))
        yield from map(_row, _described(batch, failed))


def _invalid(described: Described) -> str:
    """Return status and reason of a queue or an environment that cannot be used."""
    is_valid = described.get("status") == "VALID"
    return "" if is_valid else note(described.get("status", ""), described.get("statusReason", ""))


def _row(job: Described) -> Row:
    container = job.get("container", {})
    owner = airflow_task(container.get("command", ()))
    if job["status"] == "FAILED":
        when = _clock(job.get("stoppedAt") or job["createdAt"])
    else:
        when = f"since {_clock(job.get('startedAt') or job['createdAt'])}"
    state = "failed" if job["status"] == "FAILED" else job["status"]
    return (
        f"{INDENT}{job['jobName']}",
        state,
        note(when, owner, outcome(job.get("statusReason", ""), [container])),
    )


def _clock(milliseconds: int) -> str:
    return clock(datetime.fromtimestamp(milliseconds / 1000, UTC))


def waiting(batch: Any) -> int | None:
    """Return how many jobs an agent has yet to start; None if there are no jobs at all."""
    queues = [queue["jobQueueArn"] for queue in _queues(batch)]
    number = sum(len(_jobs(batch, "STARTING", jobQueue=queue)) for queue in queues)
    is_any = number or any(
        batch.list_jobs(jobQueue=queue, jobStatus=status, maxResults=1)["jobSummaryList"]
        for queue in queues
        for status in STATUSES
    )
    return number if is_any else None


def stuck(batch: Any) -> Iterator[Finding]:
    """Find jobs that wait for a place that there is not, and with them those behind them in their queue."""
    for queue in _queues(batch):
        jobs = _jobs(batch, "RUNNABLE", jobQueue=queue["jobQueueArn"])
        never = [job for job in jobs if job.get("statusReason", "").startswith(NEVER)]
        if not never:
            continue
        first, name = never[0], queue["jobQueueName"]
        behind = f", and {len(jobs) - 1:,} more of the queue wait behind it" if len(jobs) > 1 else ""
        yield Finding(
            f"the job {first['jobName']} of the queue {name} cannot begin{behind}: {first['statusReason']}",
            "Enable a compute environment of the queue that fits, or raise its maxvCpus; or end the job:"
            f" aws batch terminate-job --job-id {first['jobId']} --reason stuck",
        )


def disabled(batch: Any, name: str) -> Iterator[Finding]:
    """Find the job queue of that name if it takes no jobs."""
    for queue in _queues(batch):
        if queue["jobQueueName"] == name and queue["state"] == "DISABLED":
            yield Finding(
                f"the job queue {name} of Airflow's executor takes no jobs: it is DISABLED",
                f"aws batch update-job-queue --job-queue {name} --state ENABLED",
            )


def held(batch: Any) -> dict[str, list[Described]]:
    """Return all there is, as Batch describes it: of definitions and jobs the latest."""
    definitions = batch.get_paginator("describe_job_definitions").paginate(
        status="ACTIVE", PaginationConfig={"MaxItems": LATEST}
    )
    found: dict[str, list[Described]] = {
        "computeEnvironments": _environments(batch),
        "jobQueues": _queues(batch),
        "jobDefinitions": [one for page in definitions for one in page["jobDefinitions"]],
        "jobs": [],
    }
    for queue in found["jobQueues"]:
        all_jobs = [job for status in STATUSES for job in _jobs(batch, status, jobQueue=queue["jobQueueArn"])]
        jobs = sorted(all_jobs, key=lambda job: job["createdAt"])[-LATEST:]
        # The parent of an array says only that a child has failed.
        arrays = [job["jobId"] for job in jobs if job.get("arrayProperties") and job["status"] != "SUCCEEDED"]
        children = [
            job
            for array in arrays
            for status in ("RUNNING", "FAILED")
            for job in _jobs(batch, status, arrayJobId=array)
        ]
        found["jobs"] += _described(batch, [*jobs, *children[-LATEST:]])
    return found


def streams(found: Mapping[str, list[Described]]) -> Iterator[Stream]:
    """Yield where the output of jobs is that have failed or still run, the latest first; of all attempts.

    :param found: what :func:`held` has returned.
    """
    for job in sorted(found["jobs"], key=lambda job: job["createdAt"], reverse=True):
        if job["status"] == "SUCCEEDED":
            continue
        container = job.get("container", {})
        options = container.get("logConfiguration", {}).get("options", {})
        attempts = [container, *(attempt["container"] for attempt in reversed(job.get("attempts", ())))]
        for name in dict.fromkeys(one["logStreamName"] for one in attempts if one.get("logStreamName")):
            yield Stream(options.get("awslogs-group", GROUP), name)
