"""What ECS holds: clusters and their tasks."""

from collections.abc import Iterable, Iterator, Mapping
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

type Described = Mapping[str, Any]

# How many a call takes.
MOST_DESCRIBED = 100

# How many of the latest stopped tasks of a cluster are looked at for those that have failed.
LOOKED_AT = 200


def clusters(ecs: Any) -> list[Described]:
    """Return the active clusters, described.

    :param ecs: boto3's client.
    """
    pages = ecs.get_paginator("list_clusters").paginate()
    names = [arn for page in pages for arn in page["clusterArns"]]
    return [
        one
        for some in batched(names, MOST_DESCRIBED)
        for one in ecs.describe_clusters(clusters=list(some))["clusters"]
    ]


def _arns(ecs: Any, cluster: str, desired_status: str) -> list[str]:
    """Return a cluster's tasks, which the emulator lists from the oldest on."""
    pages = ecs.get_paginator("list_tasks").paginate(cluster=cluster, desiredStatus=desired_status)
    return [arn for page in pages for arn in page["taskArns"]]


def _described(ecs: Any, cluster: str, arns: Iterable[str]) -> list[Described]:
    return [
        task
        for some in batched(arns, MOST_DESCRIBED)
        for task in ecs.describe_tasks(cluster=cluster, tasks=list(some))["tasks"]
    ]


def _has_ended_well(task: Described) -> bool:
    """Whether each container ended with 0, which is what the provider's operator and executor ask."""
    return task["lastStatus"] == "STOPPED" and all(one.get("exitCode") == 0 for one in task["containers"])


def _has_failed(task: Described) -> bool:
    return task["lastStatus"] == "STOPPED" and not _has_ended_well(task)


def rows(ecs: Any) -> Iterator[Row]:
    """Yield a row for each cluster; below it those for its tasks at work, and for the last that failed."""
    for cluster in clusters(ecs):
        name = cluster["clusterName"]
        running, stopped = _arns(ecs, name, "RUNNING"), _arns(ecs, name, "STOPPED")
        latest = _described(ecs, name, stopped[-LOOKED_AT:])
        # Of a task that is to stop, as ECS lists it, the end may take a while.
        stopping = [task for task in latest if task["lastStatus"] != "STOPPED"]
        failed = sorted(filter(_has_failed, latest), key=lambda task: task["stoppedAt"], reverse=True)
        all_latest = len(latest) == len(stopped)
        of = "of them" if all_latest else f"of the last {LOOKED_AT:,}"
        counts = [
            f"{len(stopped) - len(stopping):,} stopped",
            *([f"{len(failed):,} {of} failed"] if failed else []),
        ]
        yield name, cluster["status"], _summary(cluster, counts)
        at_work = [*_described(ecs, name, running[:AT_WORK]), *stopping][:AT_WORK]
        yield from map(_at_work, at_work)
        yield from more(len(at_work), len(running) + len(stopping))
        yield from map(_failed, failed[:FAILED])


def _summary(cluster: Described, others: Iterable[str]) -> str:
    counts = [
        f"{cluster['runningTasksCount']:,} running",
        f"{cluster['pendingTasksCount']:,} pending",
        *others,
    ]
    instances = cluster["registeredContainerInstancesCount"]
    kind = "1 container instance" if instances == 1 else f"{instances} container instances"
    return "; ".join([", ".join(counts), *([kind] if instances else [])])


def _name(task: Described) -> str:
    return f"{INDENT}{_last_part(task['taskDefinitionArn'])}"


def _at_work(task: Described) -> Row:
    since = f"since {clock(task.get('startedAt') or task['createdAt'])}"
    return _name(task), task["lastStatus"], note(since, _owner(task))


def _failed(task: Described) -> Row:
    how = outcome(task.get("stoppedReason", ""), task["containers"])
    return _name(task), "failed", note(clock(task["stoppedAt"]), _owner(task), how)


def _owner(task: Described) -> str:
    """Return the task of Airflow that this one is, or who has started it, if it says so."""
    overrides = task.get("overrides", {}).get("containerOverrides", [])
    command = [argument for one in overrides for argument in one.get("command", ())]
    by = task.get("startedBy")
    return airflow_task(command) or (f"started by {by}" if by else "")


def waiting(ecs: Any) -> int | None:
    """Return how many tasks an agent has yet to start; None if there are no tasks at all."""
    found = clusters(ecs)
    number = sum(one["pendingTasksCount"] for one in found)
    is_any = number or any(
        ecs.list_tasks(cluster=one["clusterName"], desiredStatus=status, maxResults=1)["taskArns"]
        for one in found
        for status in ("RUNNING", "STOPPED")
    )
    return number if is_any else None


def held(ecs: Any) -> dict[str, list[Described]]:
    """Return all there is, as ECS describes it: of tasks and definitions the latest."""
    found: dict[str, list[Described]] = {"clusters": clusters(ecs), "containerInstances": [], "tasks": []}
    for name in (one["clusterName"] for one in found["clusters"]):
        instances = ecs.list_container_instances(cluster=name)["containerInstanceArns"]
        if instances:
            described = ecs.describe_container_instances(cluster=name, containerInstances=instances)
            found["containerInstances"] += described["containerInstances"]
        for status in ("RUNNING", "STOPPED"):
            found["tasks"] += _described(ecs, name, _arns(ecs, name, status)[-LATEST:])
    active = ecs.list_task_definitions(status="ACTIVE", sort="DESC", maxResults=LATEST)["taskDefinitionArns"]
    # Those of tasks may have been deregistered.
    named = dict.fromkeys([*active, *(task["taskDefinitionArn"] for task in found["tasks"])])
    found["taskDefinitions"] = [
        ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"] for arn in named
    ]
    return found


def streams(found: Mapping[str, list[Described]]) -> Iterator[Stream]:
    """Yield where the output of tasks is that have failed or still run, the latest first.

    :param found: what :func:`held` has returned.
    """
    containers = {one["taskDefinitionArn"]: one["containerDefinitions"] for one in found["taskDefinitions"]}
    for task in sorted(found["tasks"], key=lambda task: task["createdAt"], reverse=True):
        if _has_ended_well(task):
            continue
        for container in containers[task["taskDefinitionArn"]]:
            options = container.get("logConfiguration", {}).get("options", {})
            group, prefix = options.get("awslogs-group"), options.get("awslogs-stream-prefix")
            if group and prefix:
                yield Stream(group, f"{prefix}/{container['name']}/{_last_part(task['taskArn'])}")


def _last_part(arn: str) -> str:
    return arn.rpartition("/")[2]
