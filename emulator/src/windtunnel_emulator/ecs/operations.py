"""ECS's operations as far as moto's are not taken as they are: all that has to do with tasks, and what AWS checks.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Operations.html
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from localstack.aws.api import CommonServiceException, RequestContext
from localstack.services.moto import call_moto, call_moto_with_request
from moto.ecs.models import ecs_backends

from windtunnel_emulator.containers.agents import queue
from windtunnel_emulator.containers.work import RUNNING, Work
from windtunnel_emulator.ecs import definitions, sizes, tasks
from windtunnel_emulator.ecs.errors import cluster_not_found, invalid_parameter

type Request = Mapping[str, Any]
type Answer = dict[str, Any]

# How many seconds Fargate takes before it pulls the image; on AWS some 30.
START_DELAY_SETTING = "FARGATE_START_DELAY"

MOST_TASKS = 10
MOST_DESCRIBED = 100
CAPACITY_PROVIDERS = ("FARGATE", "FARGATE_SPOT")
PLATFORM_VERSION = "1.4.0"


def _backend(context: RequestContext) -> Any:
    return ecs_backends[context.account_id][context.region]


def _cluster(context: RequestContext, name: str | None) -> Any:
    """Return moto's record of a cluster: ``name``, its ARN, or ``default``."""
    found = _backend(context).clusters.get((name or "default").rpartition("/")[2])
    if not found or found.status != "ACTIVE":
        raise cluster_not_found()
    return found


def _tasks(context: RequestContext, cluster: Any) -> list[Work]:
    return [
        work
        for work in queue().of("ecs", context.account_id, context.region)
        if work.details["clusterArn"] == cluster.arn
    ]


# Clusters


def create_cluster(context: RequestContext, request: Request) -> Answer:
    """Create a cluster; one that is there already is returned as it is."""
    try:
        found = _cluster(context, request.get("clusterName"))
    except CommonServiceException:
        return call_moto(context)  # type: ignore[no-any-return]
    return {"cluster": {"clusterArn": found.arn, "clusterName": found.name, "status": found.status}}


def describe_clusters(context: RequestContext, request: Request) -> Answer:
    """Describe clusters, with the number of their tasks."""
    for cluster in _backend(context).clusters.values():
        own = [work for work in _tasks(context, cluster) if not work.stopped]
        cluster.running_tasks_count = sum(work.state["status"] == RUNNING for work in own)
        cluster.pending_tasks_count = len(own) - cluster.running_tasks_count
    return call_moto(context)  # type: ignore[no-any-return]


def delete_cluster(context: RequestContext, request: Request) -> Answer:
    """Delete a cluster in which no task runs."""
    cluster = _cluster(context, request["cluster"])
    if any(not work.stopped for work in _tasks(context, cluster)):
        raise CommonServiceException(
            "ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active."
        )
    return call_moto(context)  # type: ignore[no-any-return]


# Task definitions


def register_task_definition(context: RequestContext, request: Request) -> Answer:
    """Register a revision, if it is one that AWS takes."""
    definitions.check(request)
    answer = call_moto(context)
    answer["taskDefinition"]["registeredAt"] = time.time()
    return answer  # type: ignore[no-any-return]


def describe_task_definition(context: RequestContext, request: Request) -> Answer:
    """Describe a revision; of a family the latest that is active."""
    name = request["taskDefinition"]
    found = definitions.find(_backend(context), name, "Unable to describe task definition.")
    return call_moto_with_request(context, {**request, "taskDefinition": found.arn})  # type: ignore[no-any-return]


# Tasks


def run_task(context: RequestContext, request: Request) -> Answer:
    """Place tasks and hand them to an agent."""
    cluster = _cluster(context, request.get("cluster"))
    definition = definitions.find(
        _backend(context), request["taskDefinition"], "TaskDefinition not found.", "TaskDefinition is inactive"
    )
    count = request.get("count") or 1
    if not 1 <= count <= MOST_TASKS:
        raise invalid_parameter(f"count must be between 1 and {MOST_TASKS}.")
    launch_type, provider = _launch_type(request, cluster)
    _check_network(request, definition)
    overrides = request.get("overrides") or {}
    _check_overrides(overrides, definition)
    cpu, memory = _size(overrides, definition)
    if launch_type == "FARGATE":
        if "FARGATE" not in definition.compatibilities:
            raise invalid_parameter("Task definition does not support launch_type FARGATE.")
        definitions.check_fargate_size(cpu, memory)
    else:
        raise invalid_parameter("No Container Instances were found in your cluster.")
    details = {
        "clusterArn": cluster.arn,
        "taskDefinitionArn": definition.arn,
        "group": request.get("group") or f"family:{definition.family}",
        "launchType": launch_type,
        "capacityProviderName": provider,
        "platformVersion": PLATFORM_VERSION if launch_type == "FARGATE" else None,
        "platformFamily": "Linux" if launch_type == "FARGATE" else None,
        "startedBy": request.get("startedBy"),
        "tags": _tags(request, definition),
        "overrides": {"containerOverrides": [], "inferenceAcceleratorOverrides": [], **overrides},
        "cpu": cpu,
        "memory": memory,
        "enableExecuteCommand": bool(request.get("enableExecuteCommand")),
        "attachments": _attachments(request),
        "availabilityZone": f"{context.region}a",
    }
    started = [_start(context, cluster, definition, details) for _ in range(count)]
    return {"tasks": [tasks.described(work) for work in started], "failures": []}


def _start(context: RequestContext, cluster: Any, definition: Any, details: Answer) -> Work:
    task_id = uuid4().hex
    prefix = f"arn:aws:ecs:{context.region}:{context.account_id}"
    containers = definitions.containers(definition, details["overrides"], task_id, context.region)
    described = {
        container["name"]: {
            "containerArn": f"{prefix}:container/{cluster.name}/{task_id}/{uuid4()}",
            "image": container["image"],
            "cpu": str(container["cpu"] or 0),
            "memory": str(container["memory"]) if container["memory"] else None,
        }
        for container in containers
    }
    now = time.time()
    delay = float(os.environ.get(START_DELAY_SETTING) or 0) if details["launchType"] == "FARGATE" else 0.0
    work = Work(
        id=task_id,
        service="ecs",
        account=context.account_id,
        region=context.region,
        containers=containers,
        memory=sizes.memory_mib(details["memory"]) if details["memory"] else None,
        cpu=sizes.cpu_units(details["cpu"]) if details["cpu"] else None,
        details={**details, "taskArn": f"{prefix}:task/{cluster.name}/{task_id}", "containers": described},
        created=now,
        not_before=now + delay,
    )
    queue().add(work)
    return work


def _launch_type(request: Request, cluster: Any) -> tuple[str, str | None]:
    """Return the launch type and the capacity provider."""
    strategy = request.get("capacityProviderStrategy")
    if strategy and request.get("launchType"):
        raise invalid_parameter("Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.")
    if not request.get("launchType"):
        strategy = strategy or cluster.default_capacity_provider_strategy
    if not strategy:
        return request.get("launchType") or "EC2", None
    chosen = max(strategy, key=lambda one: (one.get("base", 0), one.get("weight", 0)))["capacityProvider"]
    if chosen not in {*(cluster.capacity_providers or ()), *CAPACITY_PROVIDERS}:
        raise invalid_parameter("The specified capacity provider was not found. Specify a valid name or ARN and try again.")
    return ("FARGATE" if chosen in CAPACITY_PROVIDERS else "EC2"), chosen


def _check_network(request: Request, definition: Any) -> None:
    given = request.get("networkConfiguration", {}).get("awsvpcConfiguration")
    if definition.network_mode == "awsvpc":
        if not given:
            raise invalid_parameter("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
        if not given.get("subnets"):
            raise invalid_parameter("subnets can not be empty.")
    elif given:
        raise invalid_parameter("Network Configuration is not valid for the given networkMode of this task definition.")


def _check_overrides(overrides: Request, definition: Any) -> None:
    names = {container["name"] for container in definition.container_definitions}
    for override in overrides.get("containerOverrides", ()):
        if override.get("name") not in names:
            raise invalid_parameter(
                f"Override for container named {override.get('name')} is not a container in the TaskDefinition."
            )
    if len(json.dumps(overrides, separators=(",", ":"))) > definitions.LONGEST_OVERRIDES:
        raise invalid_parameter(f"Container Overrides length must be at most {definitions.LONGEST_OVERRIDES}")


def _size(overrides: Request, definition: Any) -> tuple[str | None, str | None]:
    return overrides.get("cpu") or definition.cpu, overrides.get("memory") or definition.memory


def _tags(request: Request, definition: Any) -> list[Any]:
    own = list(request.get("tags") or [])
    if request.get("propagateTags") == "TASK_DEFINITION":
        keys = {tag["key"] for tag in own}
        own += [tag for tag in definition.tags if tag["key"] not in keys]
    return own


def _attachments(request: Request) -> list[Answer]:
    """Describe the network interface, which is made up: all of the stack is on one network."""
    given = request.get("networkConfiguration", {}).get("awsvpcConfiguration")
    if not given:
        return []
    details = [{"name": "subnetId", "value": given["subnets"][0]}]
    return [{"id": str(uuid4()), "type": "ElasticNetworkInterface", "status": "ATTACHED", "details": details}]


def stop_task(context: RequestContext, request: Request) -> Answer:
    """Stop a task; of one that has stopped nothing changes."""
    cluster = _cluster(context, request.get("cluster"))
    work = _find(context, cluster, request["task"])
    if not work:
        raise invalid_parameter("The referenced task was not found.")
    queue().stop(work, "UserInitiated", request.get("reason") or "Task stopped by user")
    return {"task": tasks.described(work)}


def describe_tasks(context: RequestContext, request: Request) -> Answer:
    """Describe tasks; those that are not known are among the failures."""
    cluster = _cluster(context, request.get("cluster"))
    asked = request["tasks"]
    if not asked:
        raise invalid_parameter("Tasks cannot be empty.")
    if len(asked) > MOST_DESCRIBED:
        raise invalid_parameter(f"Tasks cannot have more than {MOST_DESCRIBED} elements.")
    found = {name: _find(context, cluster, name) for name in asked}
    tags = "TAGS" in request.get("include", ())
    prefix = f"arn:aws:ecs:{context.region}:{context.account_id}:task/{cluster.name}/"
    return {
        "tasks": [tasks.described(work, tags) for work in found.values() if work],
        "failures": [
            {"arn": name if name.startswith("arn:") else f"{prefix}{name}", "reason": "MISSING"}
            for name, work in found.items()
            if not work
        ],
    }


def _find(context: RequestContext, cluster: Any, name: str) -> Work | None:
    work = queue().find(name.rpartition("/")[2])
    if not work or work.service != "ecs" or (work.account, work.region) != (context.account_id, context.region):
        return None
    return work if work.details["clusterArn"] == cluster.arn else None


def list_tasks(context: RequestContext, request: Request) -> Answer:
    """List tasks: without a wish those that are to run."""
    cluster = _cluster(context, request.get("cluster"))
    wanted = request.get("desiredStatus") or "RUNNING"
    conditions: dict[str, Callable[[Answer], Any]] = {
        "family": lambda task: task["taskDefinitionArn"].rpartition("/")[2].rpartition(":")[0],
        "startedBy": lambda task: task.get("startedBy"),
        "launchType": lambda task: task["launchType"],
        "containerInstance": lambda task: (task.get("containerInstanceArn") or "").rpartition("/")[2],
        "serviceName": lambda task: task["group"].removeprefix("service:"),
    }
    found = []
    for work in _tasks(context, cluster):
        task = tasks.described(work)
        if task["desiredStatus"] == wanted and all(
            value(task) == str(request[name]).rpartition("/")[2]
            for name, value in conditions.items()
            if request.get(name)
        ):
            found.append(task["taskArn"])
    return _page(found, request)


def _page(arns: list[str], request: Request) -> Answer:
    size = request.get("maxResults") or 100
    if not 1 <= size <= 100:
        raise invalid_parameter("maxResults must be between 1 and 100.")
    token = request.get("nextToken")
    if token and token not in arns:
        raise invalid_parameter("Invalid token.")
    begin = arns.index(token) if token else 0
    rest = arns[begin + size : begin + size + 1]
    return {"taskArns": arns[begin : begin + size], **({"nextToken": rest[0]} if rest else {})}


OPERATIONS: Mapping[str, Callable[[RequestContext, Request], Answer]] = {
    "CreateCluster": create_cluster,
    "DescribeClusters": describe_clusters,
    "DeleteCluster": delete_cluster,
    "RegisterTaskDefinition": register_task_definition,
    "DescribeTaskDefinition": describe_task_definition,
    "RunTask": run_task,
    "StopTask": stop_task,
    "DescribeTasks": describe_tasks,
    "ListTasks": list_tasks,
}
