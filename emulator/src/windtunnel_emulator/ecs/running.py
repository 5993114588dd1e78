"""``RunTask`` and ``StartTask``: tasks are checked, placed and handed to an agent."""

import json
import os
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from localstack.aws.api import RequestContext

from windtunnel_emulator.containers.agents import queue
from windtunnel_emulator.containers.work import Work
from windtunnel_emulator.ecs import clusters, definitions, instances, sizes, tasks
from windtunnel_emulator.ecs.errors import invalid_parameter
from windtunnel_emulator.ecs.lookup import Answer, Request, arn, backend, cluster

# How many seconds Fargate takes before it pulls the image; on AWS some 30.
START_DELAY_SETTING = "FARGATE_START_DELAY"

MOST_TASKS = 10
PLATFORM_VERSION = "1.4.0"
LONGEST_STARTED_BY = 128


def run_task(context: RequestContext, request: Request) -> Answer:
    """Place tasks and hand them to an agent; those for which no instance has room are among the failures."""
    found, definition = _asked(context, request)
    count = request.get("count") or 1
    if not 1 <= count <= MOST_TASKS:
        raise invalid_parameter(f"count must be between 1 and {MOST_TASKS}.")
    launch_types = clusters.launch_types(context, request, found, count)
    for launch_type, provider in set(launch_types):
        _check_launch_type(launch_type, request, definition)
        if not (clusters.is_scaled(context, provider or launch_type) or instances.of(context, found)):
            raise instances.no_instances()
    answer: Answer = {"tasks": [], "failures": []}
    for launch_type, provider in launch_types:
        details = _details(context, request, found, definition, launch_type, provider)
        if clusters.is_scaled(context, provider or launch_type):
            pool = "" if launch_type == "FARGATE" else found.name
            answer["tasks"].append(_start(context, found, definition, details, pool=pool))
        else:
            _place(context, found, definition, details, list(instances.of(context, found)), answer)
    return answer


def start_task(context: RequestContext, request: Request) -> Answer:
    """Start a task on each of the instances that are named."""
    found, definition = _asked(context, request)
    asked = request["containerInstances"]
    if not 1 <= len(asked) <= MOST_TASKS:
        raise invalid_parameter(f"Container instances must be between 1 and {MOST_TASKS}.")
    _check_launch_type("EC2", request, definition)
    answer: Answer = {"tasks": [], "failures": []}
    for instance in asked:
        if name := instances.named(context, found, instance):
            details = _details(context, request, found, definition, "EC2", None)
            _place(context, found, definition, details, [name], answer)
        else:
            answer["failures"].append({"arn": instance, "reason": "MISSING"})
    return answer


def _asked(context: RequestContext, request: Request) -> tuple[Any, Any]:
    """Return cluster and definition, if what is asked for makes sense."""
    found = cluster(context, request.get("cluster"))
    definition = definitions.find(
        backend(context), request["taskDefinition"], "TaskDefinition not found.", "TaskDefinition is inactive"
    )
    _check_network(request, definition)
    _check_overrides(request.get("overrides") or {}, definition)
    if len(request.get("startedBy") or "") > LONGEST_STARTED_BY:
        raise invalid_parameter(f"startedBy must be at most {LONGEST_STARTED_BY} characters long.")
    return found, definition


def _check_launch_type(launch_type: str, request: Request, definition: Any) -> None:
    if launch_type == "EXTERNAL":
        raise instances.no_instances()
    if launch_type not in definition.compatibilities:
        raise invalid_parameter(f"Task definition does not support launch_type {launch_type}.")
    if launch_type == "FARGATE":
        definitions.check_fargate_size(*_size(request.get("overrides") or {}, definition))


def _place(
    context: RequestContext, found: Any, definition: Any, details: Answer, able: list[str], answer: Answer
) -> None:
    """Start a task on the first instance that has room, or add why each has none."""
    images = [one["image"] for one in definition.container_definitions]
    with queue().lock:
        failures = []
        fits = {name: queue().agents()[name].fit(images) for name in able}
        # Those that cannot run it are asked only if there is no other: then the task ends with the reason.
        able = sorted(filter(fits.__getitem__, able), key=fits.__getitem__, reverse=True) or able
        for name in able:
            lacking = instances.missing(name, _reserved(details["overrides"], definition))
            if not lacking:
                answer["tasks"].append(_start(context, found, definition, details, name))
                return
            failures.append({"arn": instances.arn_of(found.arn, name), "reason": lacking})
    answer["failures"] += failures


def _details(
    context: RequestContext,
    request: Request,
    found: Any,
    definition: Any,
    launch_type: str,
    provider: str | None,
) -> Answer:
    overrides = request.get("overrides") or {}
    cpu, memory = _size(overrides, definition)
    on_fargate = launch_type == "FARGATE"
    return {
        "clusterArn": found.arn,
        "taskDefinitionArn": definition.arn,
        "group": request.get("group") or f"family:{definition.family}",
        "launchType": launch_type,
        "capacityProviderName": provider,
        "platformVersion": PLATFORM_VERSION if on_fargate else None,
        "platformFamily": "Linux" if on_fargate else None,
        "startedBy": request.get("startedBy"),
        "tags": _tags(request, definition),
        "overrides": {"containerOverrides": [], "inferenceAcceleratorOverrides": [], **overrides},
        "cpu": cpu and str(sizes.cpu_units(cpu)),
        "memory": memory and str(sizes.memory_mib(memory)),
        "enableExecuteCommand": bool(request.get("enableExecuteCommand")),
        "attachments": _attachments(request),
        "availabilityZone": f"{context.region}a",
    }


def _reserved(overrides: Request, definition: Any) -> dict[str, int]:
    """Return what an instance sets aside for a task."""
    cpu, memory = _size(overrides, definition)
    own = {one.get("name"): one for one in overrides.get("containerOverrides", [])}
    merged = [{**one, **own.get(one["name"], {})} for one in definition.container_definitions]
    return {
        "CPU": sizes.cpu_units(cpu) if cpu else sum(one.get("cpu") or 0 for one in merged),
        "MEMORY": sizes.memory_mib(memory)
        if memory
        else sum(one.get("memoryReservation") or one.get("memory") or 0 for one in merged),
    }


def _start(
    context: RequestContext, found: Any, definition: Any, details: Answer, place: str = "", pool: str = ""
) -> Answer:
    task_id = uuid4().hex
    containers = definitions.containers(definition, details["overrides"], task_id, context.region)
    described = {
        container["name"]: {
            "containerArn": arn(context, f"container/{found.name}/{task_id}/{uuid4()}"),
            "image": container["image"],
            "cpu": str(container["cpu"] or 0),
            "memory": str(container["memory"]) if container["memory"] else None,
        }
        for container in containers
    }
    task_arn = arn(context, f"task/{found.name}/{task_id}")
    now = time.time()
    delay = float(os.environ.get(START_DELAY_SETTING) or 0) if details["launchType"] == "FARGATE" else 0.0
    work = Work(
        id=task_id,
        service="ecs",
        account=context.account_id,
        region=context.region,
        containers=containers,
        memory=int(details["memory"]) if details["memory"] else None,
        cpu=int(details["cpu"]) if details["cpu"] else None,
        details={**details, "taskArn": task_arn, "containers": described},
        about=_about(task_arn, details, described),
        place=place,
        pool=pool,
        reserved=_reserved(details["overrides"], definition),
        created=now,
        not_before=now + delay,
    )
    queue().add(work)
    return tasks.described(work)


def _about(task_arn: str, details: Answer, containers: Mapping[str, Answer]) -> Answer:
    return {
        "arn": task_arn,
        "cluster": details["clusterArn"],
        "definition": details["taskDefinitionArn"],
        "launch_type": details["launchType"],
        "availability_zone": details["availabilityZone"],
        "tags": details["tags"],
        "containers": {name: one["containerArn"] for name, one in containers.items()},
    }


def _check_network(request: Request, definition: Any) -> None:
    given = request.get("networkConfiguration", {}).get("awsvpcConfiguration")
    if definition.network_mode == "awsvpc":
        if not given:
            raise invalid_parameter(
                "Network Configuration must be provided when networkMode 'awsvpc' is specified."
            )
        if not given.get("subnets"):
            raise invalid_parameter("subnets can not be empty.")
    elif given:
        raise invalid_parameter(
            "Network Configuration is not valid for the given networkMode of this task definition."
        )


def _check_overrides(overrides: Request, definition: Any) -> None:
    names = {container["name"] for container in definition.container_definitions}
    for override in overrides.get("containerOverrides", ()):
        if override.get("name") not in names:
            raise invalid_parameter(
                f"Override for container named {override.get('name')} is not a container in the "
                "TaskDefinition."
            )
    for what, whole in zip(("cpu", "memory"), _size(overrides, definition), strict=True):
        for override in overrides.get("containerOverrides", ()):
            read = sizes.cpu_units if what == "cpu" else sizes.memory_mib
            if whole and (override.get(what) or 0) > read(whole):
                raise invalid_parameter(
                    f"'{what}' setting for container '{override['name']}' is greater than for task."
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
