"""Clusters and their capacity providers."""

from collections.abc import Sequence
from typing import Any

from localstack.aws.api import CommonServiceException, RequestContext
from localstack.services.moto import call_moto

from windtunnel_emulator.containers.work import RUNNING
from windtunnel_emulator.ecs import instances
from windtunnel_emulator.ecs.errors import invalid_parameter
from windtunnel_emulator.ecs.lookup import (
    Answer,
    Request,
    arn,
    ask_moto,
    backend,
    cluster,
    last_part,
    page,
    tasks_of,
)

# What AWS has for every cluster.
FARGATE = ("FARGATE", "FARGATE_SPOT")
NO_PROVIDER = "The specified capacity provider was not found. Specify a valid name or ARN and try again."


def create_cluster(context: RequestContext, request: Request) -> Answer:
    """Create a cluster; one that is there already is returned as it is."""
    _check_providers(context, request)
    try:
        found = cluster(context, request.get("clusterName"))
    except CommonServiceException:
        return call_moto(context)  # type: ignore[no-any-return]
    answer = ask_moto(context, "DescribeClusters", {"clusters": [found.name]})
    return {"cluster": answer["clusters"][0]}


def describe_clusters(context: RequestContext, request: Request) -> Answer:
    """Describe clusters, with the number of their tasks and instances."""
    for found in backend(context).clusters.values():
        own = [work for work in tasks_of(context, found) if not work.stopped]
        found.running_tasks_count = sum(work.state["status"] == RUNNING for work in own)
        found.pending_tasks_count = len(own) - found.running_tasks_count
        found.registered_container_instances_count = len(instances.of(context, found))
    return call_moto(context)  # type: ignore[no-any-return]


def list_clusters(context: RequestContext, request: Request) -> Answer:
    """List the clusters that are not deleted."""
    active = [one.arn for one in backend(context).clusters.values() if one.status == "ACTIVE"]
    return page("clusterArns", active, request)


def delete_cluster(context: RequestContext, request: Request) -> Answer:
    """Delete a cluster in which no task runs, and for which no agent is an instance."""
    found = cluster(context, request["cluster"])
    if instances.of(context, found):
        raise CommonServiceException(
            "ClusterContainsContainerInstancesException",
            "The Cluster cannot be deleted while Container Instances are active or draining.",
        )
    if any(not work.stopped for work in tasks_of(context, found)):
        raise CommonServiceException(
            "ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active."
        )
    return call_moto(context)  # type: ignore[no-any-return]


def as_moto_does(context: RequestContext, request: Request) -> Answer:
    """Change moto's records alone; they are kept then."""
    return call_moto(context)  # type: ignore[no-any-return]


def put_cluster_capacity_providers(context: RequestContext, request: Request) -> Answer:
    """Give a cluster its capacity providers and its strategy for those that name none."""
    cluster(context, request["cluster"])
    _check_providers(context, request)
    return call_moto(context)  # type: ignore[no-any-return]


def describe_capacity_providers(context: RequestContext, request: Request) -> Answer:
    """Describe capacity providers: AWS's own two, and those that were created."""
    asked = [last_part(name) for name in request.get("capacityProviders") or ()]
    built_in = [
        {"name": name, "capacityProviderArn": arn(context, f"capacity-provider/{name}"), "status": "ACTIVE"}
        for name in FARGATE
        if name in asked or not asked
    ]
    # moto wants to be told all names.
    others = [name for name in asked or backend(context).capacity_providers if name not in FARGATE]
    if not others:
        return {"capacityProviders": built_in, "failures": []}
    answer = ask_moto(context, "DescribeCapacityProviders", {**request, "capacityProviders": others})
    return {**answer, "capacityProviders": [*built_in, *answer["capacityProviders"]]}


def launch_types(
    context: RequestContext, request: Request, found: Any, count: int
) -> list[tuple[str, str | None]]:
    """Return launch type and capacity provider of each of so many tasks.

    :param found: the cluster.
    :raises CommonServiceException: ``InvalidParameterException``.
    """
    strategy = request.get("capacityProviderStrategy")
    if strategy and request.get("launchType"):
        raise invalid_parameter(
            "Specifying both a launch type and capacity provider strategy is not supported. "
            "Remove one and try again."
        )
    if not request.get("launchType"):
        strategy = strategy or found.default_capacity_provider_strategy
    if not strategy:
        return [(request.get("launchType") or "EC2", None)] * count
    able = {last_part(name) for name in found.capacity_providers or ()}
    for one in strategy:
        if last_part(one["capacityProvider"]) not in able:
            raise invalid_parameter(
                f"The capacity provider {one['capacityProvider']} is not associated with the cluster "
                f"{found.name}. Associate it by PutClusterCapacityProviders and try again."
                if last_part(one["capacityProvider"]) in {*FARGATE, *backend(context).capacity_providers}
                else NO_PROVIDER
            )
    chosen = [last_part(name) for name in spread(strategy, count)]
    return [("FARGATE" if name in FARGATE else "EC2", name) for name in chosen]


def is_scaled(context: RequestContext, provider: str | None) -> bool:
    """Return whether a capacity provider sees to instances by itself, so that tasks wait for their place.

    Fargate does; another one if its managed scaling is on
    (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/asg-capacity-providers.html).
    """
    if provider in FARGATE:
        return True
    known = backend(context).capacity_providers.get(provider)
    group = known.auto_scaling_group_provider if known else {}
    return bool(group.get("managedScaling", {}).get("status") == "ENABLED")


def spread(strategy: Sequence[Request], count: int) -> list[str]:
    """Return the providers of so many tasks: first as many as each has for its base, the rest by weight."""
    given = {one["capacityProvider"]: 0 for one in strategy}
    bases = [one["capacityProvider"] for one in strategy for _ in range(one.get("base", 0))]
    weights = {one["capacityProvider"]: one.get("weight", 0) for one in strategy}
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1)
    chosen = bases[:count]
    while len(chosen) < count:
        able = [name for name, weight in weights.items() if weight]
        name = min(able, key=lambda one: (given[one] + 1) / weights[one])
        given[name] += 1
        chosen.append(name)
    return chosen


def _check_providers(context: RequestContext, request: Request) -> None:
    known = {*FARGATE, *backend(context).capacity_providers}
    strategy = request.get("defaultCapacityProviderStrategy") or ()
    named = [*(request.get("capacityProviders") or ()), *(one["capacityProvider"] for one in strategy)]
    if any(last_part(name) not in known for name in named):
        raise invalid_parameter(NO_PROVIDER)
