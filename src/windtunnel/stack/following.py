"""The loop of ``./windtunnel scale worker=1..4``: workers follow their queues; ``docs/celery.md``."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from windtunnel.stack import aws, overlays
from windtunnel.stack import workers as celery
from windtunnel.stack.base import Say, Stack
from windtunnel.stack.command import COMMAND
from windtunnel.stack.errors import Finding, StackError, Unmet
from windtunnel.stack.scaling import COOLDOWN, Bounds, Datapoint, Decision, called_for, next_number
from windtunnel.waiting import WaitTimeout, wait_until

# What the function of overlays/celery/load_metric writes, and the rule that runs it.
NAMESPACE, METRICS, RULE = "Airflow/Celery", ("Load", "Waiting", "Running"), "load-metric"
PERIOD = timedelta(minutes=1)

# Up to what age a datapoint counts.
FRESH = 3 * PERIOD
# Between two looks for one, and after how long it is said that there is none, in seconds.
LOOK, PATIENCE = 5.0, 180.0

# In the variables of a worker: how its queues' names begin.
PREFIX = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__QUEUE_NAME_PREFIX"


def followed(stack: Stack, within: Bounds) -> celery.Workers:
    """Return the service whose queues are to be followed.

    :raises Unmet: if it is no worker of Celery, cannot have so many replicas, or nothing measures its queues.
    :raises StackError: if LocalStack does not answer.
    """
    found = {one.service: one for one in celery.workers(stack.configuration, stack.settings.scale)}
    findings = [
        *overlays.scale_findings({within.service: within.highest}, stack.configuration),
        *celery.findings(stack.configuration, stack.settings.scale),
    ]
    if not found:
        findings = [Finding("no service of this stack is a worker of Celery", f"{COMMAND} up --with celery")]
    elif within.service not in found and not findings:
        problem = f"{within.service} has no queue whose load it could follow: it is no worker of Celery"
        remedy = f"Name one of {', '.join(found)}, or say how many: {COMMAND} scale {within.service}=2"
        findings = [Finding(problem, remedy)]
    if findings:
        raise Unmet(*findings)
    try:
        rules = aws.client(stack, "events", **aws.PATIENCE).list_rules(NamePrefix=RULE)["Rules"]
    except (BotoCoreError, ClientError) as error:
        what = "cannot ask EventBridge whether the load is measured"
        raise StackError(what, str(error), f"{COMMAND} status") from error
    if RULE not in [rule["Name"] for rule in rules]:
        queues = ", ".join(found[within.service].queues)
        problem = f"nothing measures the load of {queues}: EventBridge has no rule {RULE}"
        raise Unmet(Finding(problem, f"{COMMAND} up --with celery"))
    return found[within.service]


def newest(cloudwatch: Any, queues: Sequence[str], after: datetime) -> Datapoint | None:
    """Return the newest datapoint of some queues, all of them together; None if there is none.

    :param cloudwatch: boto3's client.
    :param queues: their full names in SQS.
    :param after: only a later one counts.
    """
    asked = [(queue, metric) for queue in queues for metric in METRICS]
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    answer = cloudwatch.get_metric_data(
        StartTime=minute - FRESH,
        EndTime=minute + PERIOD,
        MetricDataQueries=[
            {"Id": f"m{number}", "MetricStat": _statistic(*one)} for number, one in enumerate(asked)
        ],
    )
    found: dict[datetime, dict[str, float]] = {}
    for result in answer["MetricDataResults"]:
        _, metric = asked[int(result["Id"][1:])]
        for time, value in zip(result["Timestamps"], result["Values"], strict=True):
            # The loads of queues that the same workers serve add up: each is by the same slots.
            metrics = found.setdefault(time, {})
            metrics[metric] = metrics.get(metric, 0) + value
    if not found or (time := max(found)) <= after:
        return None
    return Datapoint(time, found[time]["Waiting"], found[time]["Running"], found[time].get("Load"))


def _statistic(queue: str, metric: str) -> dict[str, Any]:
    dimensions = [{"Name": "Queue", "Value": queue}]
    named = {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": dimensions}
    return {"Metric": named, "Period": int(PERIOD.total_seconds()), "Stat": "Average"}


def follow(stack: Stack, within: Bounds, say: Say, cooldown: int = COOLDOWN) -> Iterator[Decision]:
    """Yield a decision for each datapoint, and do what it says when asked for the next one; without an end.

    :param stack: one that runs.
    :param say: gets a line at first, if there is no datapoint, and if a worker does not become ready.
    :param cooldown: as :func:`next_number` has it.
    :raises Unmet: as :func:`followed` does.
    :raises StackError: if the stack does not run any more.
    """
    service = followed(stack, within)
    prefix = stack.variables(service.service)[PREFIX]
    queues = [f"{prefix}{queue}" for queue in service.queues]
    say(f"{service.service} follows {', '.join(queues)}, a decision a minute. Ctrl-C: the workers stay")
    last = datetime.min.replace(tzinfo=UTC)
    number, calls = -1, list[int]()
    while True:
        point = _awaited(stack, queues, last, say)
        if point is None:
            continue
        last = point.time
        # Another command may have scaled it meanwhile.
        stack = _as_it_is(stack)
        before = overlays.replicas(within.service, stack.configuration, stack.settings.scale)
        if before != number:
            number, calls = before, []
        calls.append(called_for(point, int(service.concurrency)))
        decision = Decision(point, before, next_number(before, calls, within, cooldown))
        yield decision
        if decision.after != before:
            try:
                stack.scaled({within.service: decision.after}).up(only=[within.service])
            except StackError as error:
                say(f"{error}. The next datapoint decides again.")


def _awaited(stack: Stack, queues: Sequence[str], after: datetime, say: Say) -> Datapoint | None:
    """Return the next datapoint; None if there is none for long, which is said.

    :raises StackError: if the stack does not run any more.
    """
    try:
        return wait_until(
            "a datapoint",
            partial(_look, stack, queues, after),
            timeout=PATIENCE,
            interval=LOOK,
            retry_on=(BotoCoreError, ClientError),
        )
    except WaitTimeout as error:
        reason = f" ({error.__cause__})" if error.__cause__ else ""
        missing = f"no datapoint of {', '.join(queues)} for {PATIENCE:.0f} s{reason}"
        say(f"{missing}: the number of workers stays. See {COMMAND} status, and {COMMAND} logs localstack")
        return None


def _look(stack: Stack, queues: Sequence[str], after: datetime) -> Datapoint | None:
    try:
        cloudwatch = aws.client(stack, "cloudwatch", **aws.PATIENCE)
    except StackError:
        # LocalStack may be about to start again.
        if stack.is_there():
            return None
        raise
    return newest(cloudwatch, queues, after)


def _as_it_is(stack: Stack) -> Stack:
    """Return a stack with the replicas that it has now; StackError if it does not run any more."""
    if not stack.is_there():
        raise StackError(f"the stack {stack.project} does not run any more", next_step=f"{COMMAND} up")
    return type(stack)(overlays.remembered(stack.settings) or stack.settings)
