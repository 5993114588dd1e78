"""Compute environments and job queues: moto's records, made without subnets, roles and machines."""

import re
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from localstack.aws.api import RequestContext
from moto.batch.models import ComputeEnvironment, batch_backends

from windtunnel_emulator.batch.definitions import check_name
from windtunnel_emulator.batch.errors import client_exception

type Request = Mapping[str, Any]
type Answer = dict[str, Any]

# Of the environments of one queue.
MOST_ENVIRONMENTS = 3

_SERVICE_ROLE = "arn:aws:iam::{account}:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"


def backend(account: str, region: str) -> Any:
    """Return moto's records of an account and a region."""
    return batch_backends[account][region]


def of(context: RequestContext) -> Any:
    """Return moto's records for a call."""
    return backend(context.account_id, context.region)


def create_compute_environment(context: RequestContext, request: Request) -> Answer:
    """Create a compute environment; it is valid at once."""
    name = request["computeEnvironmentName"]
    check_name(name, "Compute environment name")
    if of(context).get_compute_environment_by_name(name):
        raise client_exception("Object already exists")
    resources = request.get("computeResources")
    if request["type"] == "MANAGED":
        if not resources:
            raise client_exception("computeResources must be provided for a MANAGED compute environment")
        _check_resources(resources)
    made = ComputeEnvironment(
        name,
        request["type"],
        request.get("state") or "ENABLED",
        dict(resources or {}),
        request.get("serviceRole") or _SERVICE_ROLE.format(account=context.account_id),
        context.account_id,
        context.region,
    )
    made.unmanaged_vcpus = request.get("unmanagedvCpus")
    cluster = f"AWSBatch-{name}"
    made.set_ecs(f"arn:aws:ecs:{context.region}:{context.account_id}:cluster/{cluster}", cluster)
    made.uuid = str(uuid4())
    of(context)._compute_environments[made.arn] = made
    of(context).tag_resource(made.arn, request.get("tags") or {})
    return _named(made)


def _check_resources(resources: Request) -> None:
    if not (resources.get("maxvCpus") or 0) >= 1:
        raise client_exception("maxvCpus must be at least 1")
    if resources["type"].startswith("FARGATE"):
        for name in ("minvCpus", "desiredvCpus", "instanceTypes", "instanceRole", "allocationStrategy"):
            if resources.get(name):
                raise client_exception(f"{name} is not applicable for Fargate.")
    elif (resources.get("minvCpus") or 0) > resources["maxvCpus"]:
        raise client_exception("minvCpus must be less than or equal to maxvCpus")


def describe_compute_environments(context: RequestContext, request: Request) -> Answer:
    """Describe compute environments: those that are named, or all."""
    wanted = request.get("computeEnvironments")
    return {
        "computeEnvironments": [
            _described(one, of(context).list_tags_for_resource(one.arn))
            for one in of(context)._compute_environments.values()
            if not wanted or one.name in wanted or one.arn in wanted
        ]
    }


def _described(environment: ComputeEnvironment, tags: Mapping[str, str]) -> Answer:
    answer = {
        "computeEnvironmentName": environment.name,
        "computeEnvironmentArn": environment.arn,
        "ecsClusterArn": environment.ecs_arn,
        "type": environment.env_type,
        "state": environment.state,
        "status": "VALID",
        "statusReason": "ComputeEnvironment Healthy",
        "serviceRole": environment.service_role,
        "containerOrchestrationType": "ECS",
        "computeResources": environment.compute_resources or None,
        "unmanagedvCpus": environment.unmanaged_vcpus,
        "uuid": environment.uuid,
        "tags": tags,
    }
    return {name: value for name, value in answer.items() if value is not None}


def update_compute_environment(context: RequestContext, request: Request) -> Answer:
    """Change a compute environment; what runs in it goes on."""
    found = _environment(of(context), request["computeEnvironment"])
    resources = {**found.compute_resources, **(request.get("computeResources") or {})}
    if found.env_type == "MANAGED":
        _check_resources(resources)
        found.compute_resources = resources
    found.state = request.get("state") or found.state
    found.service_role = request.get("serviceRole") or found.service_role
    found.unmanaged_vcpus = request.get("unmanagedvCpus") or found.unmanaged_vcpus
    return _named(found)


def delete_compute_environment(context: RequestContext, request: Request) -> Answer:
    """Delete a compute environment that is disabled and of no queue; one that is not there is no error."""
    records = of(context)
    found = records.get_compute_environment(request["computeEnvironment"])
    if not found:
        return {}
    if found.state != "DISABLED":
        raise client_exception("Cannot delete, resource must be in DISABLED state")
    if any(found in queue.environments for queue in records._job_queues.values()):
        raise client_exception("Cannot delete, found existing JobQueue relationship")
    del records._compute_environments[found.arn]
    return {}


def _environment(records: Any, name: str) -> ComputeEnvironment:
    found: ComputeEnvironment | None = records.get_compute_environment(name)
    if not found:
        raise client_exception(f"ComputeEnvironment {name} does not exist")
    return found


def _named(environment: ComputeEnvironment) -> Answer:
    return {"computeEnvironmentName": environment.name, "computeEnvironmentArn": environment.arn}


def create_job_queue(context: RequestContext, request: Request) -> Answer:
    """Create a job queue."""
    check_name(request["jobQueueName"], "Job queue name")
    records = of(context)
    if records.get_job_queue_by_name(request["jobQueueName"]):
        raise client_exception("Object already exists")
    _check_priority(request["priority"])
    made = records.create_job_queue(
        request["jobQueueName"],
        request["priority"],
        request.get("schedulingPolicyArn"),
        request.get("state") or "ENABLED",
        _ordered(records, request.get("computeEnvironmentOrder") or []),
        request.get("tags"),
    )
    return {"jobQueueName": made.name, "jobQueueArn": made.arn}


def _ordered(records: Any, order: list[Request]) -> list[Answer]:
    """Return a queue's environments with their ARNs.

    :raises CommonServiceException: ``ClientException``, if there is none, or one that cannot be used.
    """
    if not 1 <= len(order) <= MOST_ENVIRONMENTS:
        raise client_exception(
            f"A job queue must have between 1 and {MOST_ENVIRONMENTS} compute environments"
        )
    found = [(one["order"], _environment(records, one["computeEnvironment"])) for one in order]
    if len({order for order, _ in found}) < len(found):
        raise client_exception("The order of each compute environment must be unique")
    if len({bool(re.match("FARGATE", one.compute_resources.get("type", ""))) for _, one in found}) > 1:
        raise client_exception("A job queue cannot mix Fargate and EC2 compute environments")
    return [{"order": order, "computeEnvironment": one.arn} for order, one in found]


def _check_priority(priority: int) -> None:
    if not 0 <= priority <= 1000:
        raise client_exception("The priority must be between 0 and 1000")


def update_job_queue(context: RequestContext, request: Request) -> Answer:
    """Change a job queue."""
    records = of(context)
    found = job_queue(records, request["jobQueue"])
    order = request.get("computeEnvironmentOrder")
    if request.get("priority") is not None:
        _check_priority(request["priority"])
    records.update_job_queue(
        found.arn,
        request.get("priority"),
        request.get("state"),
        _ordered(records, order) if order is not None else None,
        request.get("schedulingPolicyArn"),
    )
    return {"jobQueueName": found.name, "jobQueueArn": found.arn}


def job_queue(records: Any, name: str) -> Any:
    """Return moto's record of a job queue.

    :param name: its name or ARN.
    :raises CommonServiceException: ``ClientException``, if there is none.
    """
    found = records.get_job_queue(name)
    if not found:
        raise client_exception(f"JobQueue {name} not found.")
    return found
