"""Container instances: agents, each of which is one of the cluster that it names."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from localstack.aws.api import CommonServiceException, RequestContext
from localstack.constants import DEFAULT_AWS_ACCOUNT_ID

from windtunnel_emulator.containers.agents import queue
from windtunnel_emulator.containers.work import PATIENCE, RUNNING, Agent, lacking
from windtunnel_emulator.ecs.errors import invalid_parameter
from windtunnel_emulator.ecs.lookup import Answer, Request, arn, asked_for, cluster, last_part, page


def of(context: RequestContext, found: Any) -> dict[str, Agent]:
    """Return the agents that are instances of a cluster, by their names."""
    # Agents know nothing of accounts.
    if context.account_id != DEFAULT_AWS_ACCOUNT_ID:
        return {}
    return {
        name: agent
        for name, agent in queue().agents().items()
        if agent.instance and agent.instance["cluster"] == found.name
    }


def arn_of(cluster_arn: str, name: str) -> str:
    """Return the ARN of the instance of a cluster that an agent is: always the same one."""
    return f"{cluster_arn.replace(':cluster/', ':container-instance/')}/{uuid5(NAMESPACE_URL, name).hex}"


def named(context: RequestContext, found: Any, instance: str) -> str | None:
    """Return the agent that is an instance: an id or an ARN."""
    for name in of(context, found):
        if last_part(arn_of(found.arn, name)) == last_part(instance):
            return name
    return None


def missing(name: str, wanted: Mapping[str, int]) -> str:
    """Return what an instance has too little of, as ``RunTask`` says it; nothing if it has room."""
    found = lacking(queue().remaining(name), wanted)
    return f"RESOURCE:{found[0]}" if found else ""


def list_container_instances(context: RequestContext, request: Request) -> Answer:
    """List a cluster's instances."""
    found = cluster(context, request.get("cluster"))
    arns = [arn_of(found.arn, name) for name in of(context, found)]
    # None of them drains.
    return page("containerInstanceArns", arns if request.get("status") in (None, "ACTIVE") else [], request)


def describe_container_instances(context: RequestContext, request: Request) -> Answer:
    """Describe instances; those that are not known are among the failures."""
    found = cluster(context, request.get("cluster"))
    answer: Answer = {"containerInstances": [], "failures": []}
    for instance in asked_for(request, "containerInstances", "Container instances"):
        if name := named(context, found, instance):
            answer["containerInstances"].append(_described(context, found, name))
        else:
            full = arn(context, f"container-instance/{found.name}/{last_part(instance)}")
            answer["failures"].append({"arn": full, "reason": "MISSING"})
    return answer


def _described(context: RequestContext, found: Any, name: str) -> Answer:
    agent = of(context, found)[name]
    running = [work.state["status"] == RUNNING for work in queue().placed_on(name)]
    return {
        "containerInstanceArn": arn_of(found.arn, name),
        "ec2InstanceId": f"i-{uuid5(NAMESPACE_URL, name).hex[:17]}",
        "version": 1,
        "versionInfo": {"agentVersion": "1.0.0"},
        "registeredResources": _resources(agent.resources()),
        "remainingResources": _resources(queue().remaining(name)),
        "status": "ACTIVE",
        "agentConnected": time.time() - agent.seen < PATIENCE,
        "runningTasksCount": sum(running),
        "pendingTasksCount": len(running) - sum(running),
        "attributes": [{"name": "ecs.availability-zone", "value": f"{context.region}a"}],
        "attachments": [],
        "tags": [],
        "registeredAt": datetime.fromtimestamp(agent.since, UTC),
    }


def _resources(amounts: dict[str, int]) -> list[Answer]:
    return [
        {"name": name, "type": "INTEGER", "integerValue": amount, "longValue": 0, "doubleValue": 0.0}
        for name, amount in amounts.items()
    ]


def no_instances() -> CommonServiceException:
    """Return the refusal of a task for a cluster without instances."""
    return invalid_parameter("No Container Instances were found in your cluster.")
