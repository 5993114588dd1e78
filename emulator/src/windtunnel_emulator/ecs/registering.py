"""Operations on task definitions: revisions are registered, found, taken out of use, deleted."""

from datetime import UTC, datetime
from typing import Any

from localstack.aws.api import RequestContext
from localstack.services.moto import call_moto

from windtunnel_emulator.ecs import definitions
from windtunnel_emulator.ecs.errors import client_exception, invalid_parameter
from windtunnel_emulator.ecs.lookup import Answer, Request, ask_moto, backend, last_part, page

MOST_DELETED = 10
UNKNOWN = (
    "The specified task definition does not exist. Specify a valid account, family, revision and try again."
)


def register_task_definition(context: RequestContext, request: Request) -> Answer:
    """Register a revision, if it is one that AWS takes."""
    definitions.check(request)
    answer: Answer = call_moto(context)
    definition = answer["taskDefinition"]
    record = backend(context).task_definitions[definition["family"]][definition["revision"]]
    record.registered_at = datetime.now(UTC).replace(microsecond=0)
    definition["registeredAt"] = record.registered_at
    return {**answer, "tags": request.get("tags") or []}


def describe_task_definition(context: RequestContext, request: Request) -> Answer:
    """Describe a revision; of a family the latest that is active."""
    name = request["taskDefinition"]
    found = definitions.find(backend(context), name, "Unable to describe task definition.")
    return ask_moto(context, "DescribeTaskDefinition", {**request, "taskDefinition": found.arn})


def deregister_task_definition(context: RequestContext, request: Request) -> Answer:
    """Take a revision out of use: tasks that run go on, new ones cannot begin."""
    name = last_part(request["taskDefinition"])
    if ":" not in name:
        raise client_exception("Revision is missing.")
    found = definitions.find(backend(context), name, UNKNOWN)
    answer: Answer = call_moto(context)
    found.deregistered_at = datetime.now(UTC).replace(microsecond=0)
    answer["taskDefinition"]["deregisteredAt"] = found.deregistered_at
    return answer


def delete_task_definitions(context: RequestContext, request: Request) -> Answer:
    """Delete revisions that are out of use; their numbers are never given again."""
    asked = request["taskDefinitions"]
    if not asked:
        raise invalid_parameter("size of TaskDefinition references list must be greater than 0")
    if len(asked) > MOST_DELETED:
        raise invalid_parameter(f"Size of TaskDefinition references list cannot exceed {MOST_DELETED}")
    answer: Answer = {"taskDefinitions": [], "failures": []}
    for name in asked:
        family, _, revision = last_part(name).partition(":")
        number = int(revision) if revision.isdecimal() else 0
        found: Any = backend(context).task_definitions.get(family, {}).get(number)
        reason = _why_not_deleted(revision, found)
        if reason:
            answer["failures"].append({"arn": name, "reason": reason})
            continue
        found.status = "DELETE_IN_PROGRESS"
        described = ask_moto(context, "DescribeTaskDefinition", {"taskDefinition": found.arn})
        answer["taskDefinitions"].append(described["taskDefinition"])
    return answer


def _why_not_deleted(revision: str, found: Any) -> str:
    if not revision.isdecimal():
        return (
            "The specified task definition identifier is invalid. Specify a valid name or ARN and try again."
        )
    if not found:
        return UNKNOWN
    if found.status == "ACTIVE":
        return (
            "The specified task definition is still in ACTIVE status. "
            "Please deregister the target and try again."
        )
    return ""


def list_task_definitions(context: RequestContext, request: Request) -> Answer:
    """List revisions: those of one family, and without a wish the active ones."""
    family = request.get("familyPrefix")
    status = request.get("status") or "ACTIVE"
    found = [
        (name, revision, one.arn)
        for name, revisions in backend(context).task_definitions.items()
        for revision, one in revisions.items()
        if one.status == status and family in (None, "", name)
    ]
    found.sort(reverse=request.get("sort") == "DESC")
    return page("taskDefinitionArns", [one[2] for one in found], request)


def list_task_definition_families(context: RequestContext, request: Request) -> Answer:
    """List families by the beginning of their names: with an active revision, without one, or both."""
    prefix = request.get("familyPrefix") or ""
    status = request.get("status") or "ALL"
    found = []
    for name, revisions in sorted(backend(context).task_definitions.items()):
        states = {one.status for one in revisions.values()} - {"DELETE_IN_PROGRESS"}
        has = "ACTIVE" if "ACTIVE" in states else "INACTIVE"
        if states and name.startswith(prefix) and status in ("ALL", has):
            found.append(name)
    return page("families", found, request)
