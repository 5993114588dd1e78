"""Where the output of a task's container lies in CloudWatch Logs, by the executor that has run it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from custom.links.cloudwatch_logs import log_stream_url
from custom.links.quick_client import quick_client

if TYPE_CHECKING:
    from custom.links.container_log import TaskTry

# Where AWS Batch writes if a definition says nothing else, and Lambda below the name of the function.
BATCH_GROUP = "/aws/batch/job"
LAMBDA_GROUPS = "/aws/lambda/"


class NoLogStream(Exception):
    """There is no log stream of a container, or none yet. The text says why."""


class Lines(NamedTuple):
    """Where lines are.

    :param region_name: None for that of the executor.
    :param stream: empty if it is not known any more.
    :param filter_pattern: then finds the first line of the container.
    """

    group: str
    stream: str
    region_name: str | None = None
    filter_pattern: str = ""


class _Aws:
    """Clients as the executor of a section of the configuration has them."""

    def __init__(self, section: str) -> None:
        from airflow.configuration import conf

        self._section = section
        self._conf = conf
        self._region_name = self.setting("region_name")
        self._conn_id = self.setting("conn_id") or "aws_default"

    def setting(self, name: str) -> str | None:
        return self._conf.get(self._section, name, fallback=None)

    def client(self, service: str, region_name: str | None = None) -> Any:
        return quick_client(service, region_name or self._region_name, self._conn_id)


def container_log_url(task_try: "TaskTry") -> str:
    """Return where a person can read the output of the container that has run a try of a task.

    A task that was deferred has had several containers: it is the last one.

    :return: as ``log_stream_url`` does.
    :raises NoLogStream: if there is none.
    :raises botocore.exceptions.ClientError: if AWS refuses to say.
    """
    section, find = EXECUTORS[task_try.executor]
    aws = _Aws(section)
    lines = find(aws, task_try)
    meta = aws.client("logs", lines.region_name).meta
    return log_stream_url(
        meta.region_name,
        meta.partition,
        meta.endpoint_url,
        lines.group,
        lines.stream,
        filter_pattern=lines.filter_pattern,
    )


def _of_ecs(aws: _Aws, task_try: "TaskTry") -> Lines:
    """Read the definition, of which ECS knows for ever; the task says which one it was, for an hour."""
    arn = task_try.external_executor_id
    # arn:aws:ecs:REGION:ACCOUNT:task/CLUSTER/ID
    _, cluster, task_id = arn.split("/")
    ecs = aws.client("ecs")
    known = ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"]
    definition = (
        known[0]["taskDefinitionArn"]
        if known
        else task_try.executor_config.get("taskDefinition") or aws.setting("task_definition")
    )
    described = ecs.describe_task_definition(taskDefinition=definition)["taskDefinition"]
    name = aws.setting("container_name")
    logs = {one["name"]: one.get("logConfiguration", {}) for one in described["containerDefinitions"]}
    log = logs.get(name, {})
    if log.get("logDriver") != "awslogs":
        raise NoLogStream(
            f"The container {name} of {described['taskDefinitionArn']} does not write to CloudWatch Logs: "
            "its logConfiguration does not name the driver awslogs."
        )
    group, region, prefix = (
        log["options"].get(f"awslogs-{part}") for part in ("group", "region", "stream-prefix")
    )
    if not prefix:  # outside of Fargate: then Docker names the stream
        return Lines(group, "", region, _phrase(task_try))
    return Lines(group, f"{prefix}/{name}/{task_id}", region)


def _of_batch(aws: _Aws, task_try: "TaskTry") -> Lines:
    """Read what Batch says of the job, for a day; afterwards the lines tell whose they are."""
    job_id = task_try.external_executor_id
    jobs = aws.client("batch").describe_jobs(jobs=[job_id])["jobs"]
    if not jobs:
        return Lines(BATCH_GROUP, "", filter_pattern=_phrase(task_try))
    container = jobs[0].get("container", {})
    if not (stream := container.get("logStreamName")):
        reason = f": {jobs[0]['statusReason']}" if jobs[0].get("statusReason") else ""
        raise NoLogStream(f"The job {job_id} has no log stream. It is {jobs[0]['status']}{reason}.")
    options = container.get("logConfiguration", {}).get("options", {})
    return Lines(options.get("awslogs-group", BATCH_GROUP), stream, options.get("awslogs-region"))


def _of_lambda(aws: _Aws, task_try: "TaskTry") -> Lines:
    """Look for the first line of the task's process, which names the task instance.

    Lambda does not say where a call has written, and the executor does not keep the id of the call.
    """
    name = aws.setting("function_name")
    function = aws.client("lambda").get_function_configuration(FunctionName=name)
    group = function.get("LoggingConfig", {}).get("LogGroup", LAMBDA_GROUPS + function["FunctionName"])
    since = {"startTime": int(task_try.queued_at.timestamp() * 1000)} if task_try.queued_at else {}
    phrase = _phrase(task_try)
    pages = aws.client("logs").get_paginator("filter_log_events")
    for page in pages.paginate(logGroupName=group, filterPattern=phrase, interleaved=True, **since):
        for event in page["events"]:
            # LocalStack applies no pattern.
            if str(task_try.id) in event["message"]:
                return Lines(group, event["logStreamName"])
    return Lines(group, "", filter_pattern=phrase)


def _phrase(task_try: "TaskTry") -> str:
    """Return the pattern of the first line, in which Airflow names the task instance that it runs."""
    return f'"{task_try.id}"'


# The executors that run each task in a container whose output goes to CloudWatch, by the names of their
# classes: the section of the configuration, and what finds the lines.
EXECUTORS: Mapping[str, tuple[str, Callable[[_Aws, "TaskTry"], Lines]]] = {
    "AwsEcsExecutor": ("aws_ecs_executor", _of_ecs),
    "AwsBatchExecutor": ("aws_batch_executor", _of_batch),
    "AwsLambdaExecutor": ("aws_lambda_executor", _of_lambda),
}
