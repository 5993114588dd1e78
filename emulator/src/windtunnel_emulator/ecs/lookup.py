"""What all operations look up: moto's records, clusters, tasks; and pages of what is listed."""

import copy
from collections.abc import Mapping
from typing import Any

from localstack.aws.api import RequestContext
from localstack.aws.spec import load_service
from localstack.services.moto import call_moto_with_request
from moto.ecs.models import ecs_backends

from windtunnel_emulator.containers.agents import queue
from windtunnel_emulator.containers.work import Work
from windtunnel_emulator.ecs.errors import cluster_not_found, invalid_parameter

type Request = Mapping[str, Any]
type Answer = dict[str, Any]

LARGEST_PAGE = 100
MOST_DESCRIBED = 100


def ask_moto(context: RequestContext, operation: str, request: Request) -> Answer:
    """Return moto's answer to another operation than the caller's."""
    other = copy.copy(context)
    other.operation = load_service("ecs").operation_model(operation)
    return call_moto_with_request(other, request)  # type: ignore[no-any-return, arg-type]


def backend(context: RequestContext) -> Any:
    """Return moto's records of the caller's account and region."""
    return ecs_backends[context.account_id][context.region]


def arn(context: RequestContext, resource: str) -> str:
    """Return the ARN of a resource of the caller's account and region."""
    return f"arn:aws:ecs:{context.region}:{context.account_id}:{resource}"


def cluster(context: RequestContext, name: str | None) -> Any:
    """Return moto's record of a cluster: ``name``, its ARN, or ``default``.

    :raises CommonServiceException: ``ClusterNotFoundException``.
    """
    found = backend(context).clusters.get(last_part(name or "default"))
    if not found or found.status != "ACTIVE":
        raise cluster_not_found()
    return found


def tasks_of(context: RequestContext, found: Any) -> list[Work]:
    """Return the tasks of a cluster, the oldest first."""
    return [
        work
        for work in queue().of("ecs", context.account_id, context.region)
        if work.details["clusterArn"] == found.arn
    ]


def last_part(name: str) -> str:
    """Return the name that an ARN ends with, or the name itself."""
    return name.rpartition("/")[2]


def asked_for(request: Request, key: str, what: str) -> list[str]:
    """Return the names of what is to be described.

    :param what: what they name, as the message begins.
    :raises CommonServiceException: ``InvalidParameterException``, if there are none or too many.
    """
    names: list[str] = request[key]
    if not names:
        raise invalid_parameter(f"{what} cannot be empty.")
    if len(names) > MOST_DESCRIBED:
        raise invalid_parameter(f"{what} cannot have more than {MOST_DESCRIBED} elements.")
    return names


def page(key: str, names: list[str], request: Request) -> Answer:
    """Return one page of what is listed: as many as ``maxResults`` says, from ``nextToken`` on.

    :raises CommonServiceException: ``InvalidParameterException``.
    """
    size = request.get("maxResults") or LARGEST_PAGE
    if not 1 <= size <= LARGEST_PAGE:
        raise invalid_parameter(f"maxResults must be between 1 and {LARGEST_PAGE}.")
    token = request.get("nextToken")
    if token and token not in names:
        raise invalid_parameter("Invalid token.")
    begin = names.index(token) if token else 0
    rest = names[begin + size : begin + size + 1]
    return {key: names[begin : begin + size], **({"nextToken": rest[0]} if rest else {})}
