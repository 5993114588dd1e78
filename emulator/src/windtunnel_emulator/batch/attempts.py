"""An attempt of a job: work for an agent, and what has become of it."""

import json
import time
from typing import Any

from windtunnel_emulator.batch.jobs import CONTAINER, RUNNING, Job, logs, milliseconds
from windtunnel_emulator.containers.work import Work
from windtunnel_emulator.ecs.definitions import LONGEST_OVERRIDES, STOP_TIMEOUT

# Batch's own wordings.
START_FAILED = "Task failed to start"
TIMED_OUT = "Job attempt duration exceeded timeout"
OVERRIDES_TOO_LONG = f"Container Overrides length must be at most {LONGEST_OVERRIDES}"

# What ECS says of the task as a whole if its surroundings could not be had.
_OF_THE_TASK = "ResourceInitializationError"


def environment(job: Job) -> dict[str, str]:
    """Return the variables that Batch itself sets.

    https://docs.aws.amazon.com/batch/latest/userguide/job_env_vars.html
    """
    found = {
        "AWS_BATCH_CE_NAME": job.environment.rpartition("/")[2],
        "AWS_BATCH_JOB_ATTEMPT": str(len(job.attempts) + 1),
        "AWS_BATCH_JOB_ID": job.id,
        "AWS_BATCH_JQ_NAME": job.queue.rpartition("/")[2],
    }
    if job.index is not None:
        found |= {"AWS_BATCH_JOB_ARRAY_INDEX": str(job.index), "AWS_BATCH_JOB_ARRAY_SIZE": str(job.size)}
    return found


def are_overrides_too_long(job: Job) -> bool:
    """Whether ECS would not take what Batch passes on to it."""
    own = [{"name": name, "value": value} for name, value in environment(job).items()]
    override = {"name": CONTAINER, "command": job.container["command"], "environment": own}
    override["environment"] += job.overrides.get("environment", [])
    return len(json.dumps({"containerOverrides": [override]}, separators=(",", ":"))) > LONGEST_OVERRIDES


def work_of(job: Job) -> Work:
    """Return the work of a job's next attempt; it has the id of the job's ECS task."""
    given = {one["name"]: one.get("value", "") for one in job.container["environment"]}
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": job.container["image"],
        "entry_point": [],
        "command": job.container["command"],
        "environment": {**given, **environment(job)},
        "secrets": job.container["secrets"],
        "working_directory": None,
        "user": job.container.get("user"),
        "cpu": None,
        "memory": job.memory,
        "essential": True,
        "depends_on": {},
        "start_timeout": None,
        "stop_timeout": STOP_TIMEOUT,
        "health_check": None,
        "logs": logs(job),
    }
    return Work(
        id=job.task,
        service="batch",
        account=job.account,
        region=job.region,
        containers=[container],
        memory=job.memory,
        cpu=round(job.vcpus * 1024),
        details={"jobId": job.id},
        created=time.time(),
    )


def exit_code(state: dict[str, Any]) -> int | None:
    """Return the code of the container of an attempt, which has none if it never ran."""
    code = state["containers"].get(CONTAINER, {}).get("exit_code")
    return None if code is None else int(code)


def ended(job: Job, state: dict[str, Any]) -> dict[str, Any]:
    """Return an attempt that has ended, as ``DescribeJobs`` has it.

    :param state: the last report on its work.
    """
    reported, why = state["containers"].get(CONTAINER, {}), state.get("reason")
    has_failed_to_start = state.get("code") == "TaskFailedToStart" and not str(why).startswith(_OF_THE_TASK)
    container = {
        "taskArn": job.task_arn,
        "exitCode": exit_code(state),
        "reason": why if has_failed_to_start else reported.get("reason"),
        "logStreamName": (logs(job) or {}).get("stream") if job.status == RUNNING else None,
        "networkInterfaces": [],
    }
    attempt = {
        "container": {name: value for name, value in container.items() if value is not None},
        "startedAt": milliseconds(state.get("started")),
        "stoppedAt": milliseconds(state.get("stopped")),
        "statusReason": START_FAILED if has_failed_to_start else why,
    }
    return {name: value for name, value in attempt.items() if value is not None}
