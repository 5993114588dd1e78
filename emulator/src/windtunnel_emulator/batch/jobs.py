"""Jobs: what was asked for, what has become of it, and how Batch describes it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

type Answer = dict[str, Any]

SUBMITTED = "SUBMITTED"
PENDING = "PENDING"
RUNNABLE = "RUNNABLE"
STARTING = "STARTING"
RUNNING = "RUNNING"
SUCCEEDED = "SUCCEEDED"
FAILED = "FAILED"
STATUSES = (SUBMITTED, PENDING, RUNNABLE, STARTING, RUNNING, SUCCEEDED, FAILED)

# The name that Batch gives the one container of a job's ECS task; log streams have it.
CONTAINER = "default"


@dataclass
class Job:
    """A job, the parent of an array, or one of an array's children."""

    id: str
    name: str
    account: str
    region: str
    queue: str
    """ARN of the job queue."""
    definition: str
    """ARN of the job definition."""
    container: Answer
    """As ``DescribeJobs`` has it, without what came of it."""
    vcpus: float
    memory: int
    """In MiB."""
    platform: str
    """``EC2`` or ``FARGATE``."""
    created: float
    """Times are in seconds since 1970."""
    overrides: Answer = field(default_factory=dict)
    retry: Answer = field(default_factory=lambda: {"attempts": 1, "evaluateOnExit": []})
    timeout: int | None = None
    """For one attempt, in seconds."""
    depends_on: list[Answer] = field(default_factory=list)
    """As it was asked for."""
    waits_for: list[str] = field(default_factory=list)
    """The ids of the jobs that must have succeeded first."""
    kept: Answer = field(default_factory=dict)
    """What is described as it was given: parameters, tags and the like."""
    size: int | None = None
    """How many children its array has; parent and children know it."""
    parent: str = ""
    index: int | None = None
    """Which child of its parent it is."""
    status: str = SUBMITTED
    reason: str = ""
    wish: Answer | None = None
    """``kind`` and ``reason`` of a wish to end it: ``cancel``, ``terminate`` or ``timeout``."""
    environment: str = ""
    """ARN of the compute environment of the last attempt."""
    task: str = ""
    """The id of the ECS task of the last attempt, which is also that of its work."""
    started: float | None = None
    stopped: float | None = None
    attempts: list[Answer] = field(default_factory=list)
    """Those that have ended."""

    @property
    def is_over(self) -> bool:
        """Whether it has come to its end."""
        return self.status in (SUCCEEDED, FAILED)

    @property
    def is_parent(self) -> bool:
        """Whether it is an array, which runs nothing itself."""
        return self.size is not None and self.index is None

    @property
    def is_active(self) -> bool:
        """Whether an attempt is under way."""
        return self.status in (STARTING, RUNNING)

    @property
    def order(self) -> tuple[float, int]:
        """Where it stands in its queue."""
        return self.created, self.index or 0

    @property
    def arn(self) -> str:
        """Its ARN."""
        return f"arn:aws:batch:{self.region}:{self.account}:job/{self.id}"

    @property
    def task_arn(self) -> str:
        """The ARN of the ECS task of its last attempt."""
        cluster = f"AWSBatch-{self.environment.rpartition('/')[2]}"
        return f"arn:aws:ecs:{self.region}:{self.account}:task/{cluster}/{self.task}"

    def end(self, status: str, reason: str, at: float) -> None:
        """Note that all is over."""
        self.status, self.reason, self.stopped = status, reason, at


def logs(job: Job) -> Answer | None:
    """Return where the output of the last attempt goes to; None with another driver than ``awslogs``.

    https://docs.aws.amazon.com/batch/latest/userguide/using_awslogs.html
    """
    configuration = job.container.get("logConfiguration", {})
    if configuration.get("logDriver", "awslogs") != "awslogs":
        return None
    options = configuration.get("options", {})
    own_group = options.get("awslogs-group")
    prefix = options.get("awslogs-stream-prefix") or job.definition.rpartition("/")[2].partition(":")[0]
    return {
        "group": own_group or "/aws/batch/job",
        "stream": f"{prefix}/{CONTAINER}/{job.task}",
        "region": options.get("awslogs-region", job.region),
        # Batch makes its own group; one that a definition names has to be there, unless it says otherwise.
        "create_group": not own_group or options.get("awslogs-create-group") == "true",
        "multiline_pattern": options.get("awslogs-multiline-pattern"),
    }


def milliseconds(seconds: float | None) -> int | None:
    """Return a time as Batch tells it."""
    return round(seconds * 1000) if seconds else None


def described(job: Job, children: Iterable[Job] = ()) -> Answer:
    """Return a job as ``DescribeJobs`` does.

    :param children: those of an array's parent.
    """
    container = {**job.container, "networkInterfaces": []}
    if job.attempts and not job.is_active:
        container |= job.attempts[-1]["container"]
    elif job.status == RUNNING:
        container |= {"taskArn": job.task_arn, "logStreamName": (logs(job) or {}).get("stream")}
    answer = {
        **job.kept,
        **_common(job, children),
        "jobQueue": job.queue,
        "attempts": job.attempts,
        "retryStrategy": job.retry,
        "dependsOn": job.depends_on,
        "container": {name: value for name, value in container.items() if value is not None},
        "timeout": {"attemptDurationSeconds": job.timeout} if job.timeout else None,
        "platformCapabilities": [job.platform],
        "isCancelled": bool(job.wish and job.wish["kind"] == "cancel"),
        "isTerminated": bool(job.wish and job.wish["kind"] == "terminate"),
    }
    return {name: value for name, value in answer.items() if value is not None}


def summary(job: Job, children: Iterable[Job] = ()) -> Answer:
    """Return a job as ``ListJobs`` does.

    :param children: those of an array's parent.
    """
    last = job.attempts[-1]["container"] if job.attempts else {}
    container = {name: last[name] for name in ("exitCode", "reason") if name in last}
    answer = {**_common(job, children), "container": container or None}
    return {name: value for name, value in answer.items() if value is not None}


def _common(job: Job, children: Iterable[Job]) -> Answer:
    array: Answer | None = None
    if job.is_parent:
        counts = Counter(child.status for child in children)
        array = {"size": job.size, "statusSummary": {status: counts[status] for status in STATUSES}}
    elif job.index is not None:
        array = {"index": job.index}
    return {
        "jobArn": job.arn,
        "jobId": job.id,
        "jobName": job.name,
        "jobDefinition": job.definition,
        "status": job.status,
        "statusReason": job.reason or None,
        "createdAt": milliseconds(job.created),
        "startedAt": milliseconds(job.started),
        "stoppedAt": milliseconds(job.stopped),
        "arrayProperties": array,
    }
