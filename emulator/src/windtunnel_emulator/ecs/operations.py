"""ECS's operations as far as moto's are not taken as they are: all about tasks, and what AWS checks.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Operations.html
"""

from collections.abc import Callable, Mapping
from typing import Any

from localstack.aws.api import RequestContext

from windtunnel_emulator.containers.agents import queue
from windtunnel_emulator.containers.work import Work
from windtunnel_emulator.ecs import clusters, instances, registering, running, tasks
from windtunnel_emulator.ecs.errors import invalid_parameter
from windtunnel_emulator.ecs.lookup import Answer, Request, arn, asked_for, cluster, last_part, page, tasks_of


def stop_task(context: RequestContext, request: Request) -> Answer:
    """Stop a task; of one that has stopped nothing changes."""
    found = cluster(context, request.get("cluster"))
    work = _find(context, found, request["task"])
    if not work:
        raise invalid_parameter("The referenced task was not found.")
    queue().stop(work, "UserInitiated", request.get("reason") or "Task stopped by user")
    return {"task": tasks.described(work)}


def describe_tasks(context: RequestContext, request: Request) -> Answer:
    """Describe tasks; those that are not known are among the failures."""
    found = cluster(context, request.get("cluster"))
    asked = asked_for(request, "tasks", "Tasks")
    known = {name: _find(context, found, name) for name in asked}
    tags = "TAGS" in request.get("include", ())
    return {
        "tasks": [tasks.described(work, tags) for work in known.values() if work],
        "failures": [
            {
                "arn": name if name.startswith("arn:") else arn(context, f"task/{found.name}/{name}"),
                "reason": "MISSING",
            }
            for name, work in known.items()
            if not work
        ],
    }


def _find(context: RequestContext, found: Any, name: str) -> Work | None:
    work = queue().find(last_part(name))
    if (
        not work
        or work.service != "ecs"
        or (work.account, work.region) != (context.account_id, context.region)
    ):
        return None
    return work if work.details["clusterArn"] == found.arn else None


def list_tasks(context: RequestContext, request: Request) -> Answer:
    """List tasks: without a wish those that are to run."""
    found = cluster(context, request.get("cluster"))
    wanted = request.get("desiredStatus") or "RUNNING"
    conditions: dict[str, Callable[[Answer], str | None]] = {
        "family": lambda task: last_part(task["taskDefinitionArn"]).rpartition(":")[0],
        "startedBy": lambda task: task.get("startedBy"),
        "launchType": lambda task: task["launchType"],
        "containerInstance": lambda task: last_part(task.get("containerInstanceArn") or ""),
        "serviceName": lambda task: task["group"].removeprefix("service:"),
    }
    # These may be given by their ARNs.
    asked = {
        name: last_part(request[name]) if name in ("containerInstance", "serviceName") else request[name]
        for name in conditions
        if request.get(name)
    }

    def fits(work: Work) -> bool:
        if tasks.desired_status(work) != wanted:
            return False
        # To describe each of a thousand would take long.
        task = tasks.described(work) if asked else {}
        return all(conditions[name](task) == value for name, value in asked.items())

    arns = [work.details["taskArn"] for work in tasks_of(context, found) if fits(work)]
    return page("taskArns", arns, request)


OPERATIONS: Mapping[str, Callable[[RequestContext, Request], Answer]] = {
    "CreateCluster": clusters.create_cluster,
    "DescribeClusters": clusters.describe_clusters,
    "ListClusters": clusters.list_clusters,
    "DeleteCluster": clusters.delete_cluster,
    **dict.fromkeys(
        ("CreateCapacityProvider", "UpdateCapacityProvider", "DeleteCapacityProvider"), clusters.as_moto_does
    ),
    "PutClusterCapacityProviders": clusters.put_cluster_capacity_providers,
    "DescribeCapacityProviders": clusters.describe_capacity_providers,
    "RegisterTaskDefinition": registering.register_task_definition,
    "DescribeTaskDefinition": registering.describe_task_definition,
    "DeregisterTaskDefinition": registering.deregister_task_definition,
    "DeleteTaskDefinitions": registering.delete_task_definitions,
    "ListTaskDefinitions": registering.list_task_definitions,
    "ListTaskDefinitionFamilies": registering.list_task_definition_families,
    "ListContainerInstances": instances.list_container_instances,
    "DescribeContainerInstances": instances.describe_container_instances,
    "RunTask": running.run_task,
    "StartTask": running.start_task,
    "StopTask": stop_task,
    "DescribeTasks": describe_tasks,
    "ListTasks": list_tasks,
}
