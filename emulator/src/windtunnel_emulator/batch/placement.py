"""Where a job of a queue may run: compute environments bound what runs at the same time."""

from collections.abc import Mapping
from typing import Any

from windtunnel_emulator.batch.jobs import Job

# https://docs.aws.amazon.com/batch/latest/userguide/job_stuck_in_runnable.html
TOO_BIG = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - Compute environment(s) associated with the job "
    "queue cannot meet the CPU requirement of the job"
)
NO_ENVIRONMENT = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - No enabled compute environment of the job queue is of the "
    "job's platform"
)


def most_vcpus(environment: Any) -> float:
    """Return how many vCPUs may be in use at the same time in moto's record of a compute environment."""
    if environment.env_type == "UNMANAGED":
        # The machines of one's own that would be its capacity: here the agent is.
        return float(environment.unmanaged_vcpus or "inf")
    return float(environment.compute_resources["maxvCpus"])


def is_fargate(environment: Any) -> bool:
    """Whether jobs run on Fargate in there."""
    return environment.env_type == "MANAGED" and environment.compute_resources["type"].startswith("FARGATE")


def place(job: Job, queue: Any, used: Mapping[str, float]) -> tuple[Any | None, str]:
    """Return the first compute environment of a queue that has room, or why there will never be any.

    :param queue: moto's record.
    :param used: the vCPUs that are in use, by ARN of the environment.
    """
    fitting = [
        one
        for one in queue.environments
        if one.state == "ENABLED" and is_fargate(one) == (job.platform == "FARGATE")
    ]
    for environment in fitting:
        if used.get(environment.arn, 0) + job.vcpus <= most_vcpus(environment):
            return environment, ""
    if not fitting:
        return None, NO_ENVIRONMENT
    return None, "" if any(job.vcpus <= most_vcpus(one) for one in fitting) else TOO_BIG
