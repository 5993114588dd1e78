"""Batch's operations as far as moto's are not taken as they are.

https://docs.aws.amazon.com/batch/latest/APIReference/API_Operations.html
"""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from localstack import config
from localstack.aws.api import RequestContext
from localstack.services.moto import call_moto

from windtunnel_emulator.batch import definitions, environments, jobs, listing, task_definitions
from windtunnel_emulator.batch.errors import client_exception
from windtunnel_emulator.batch.jobs import Job
from windtunnel_emulator.batch.scheduler import Scheduler
from windtunnel_emulator.containers.agents import queue
from windtunnel_emulator.once import once

type Request = Mapping[str, Any]
type Answer = dict[str, Any]

MOST_DESCRIBED = 100
MOST_DEPENDENCIES = 20
SMALLEST_ARRAY, LARGEST_ARRAY = 2, 10_000
LARGEST_REQUEST = 30 << 10

# Ways to run a job that no agent has.
_NOT_HERE = {
    "node_properties": "multi-node jobs",
    "eks_properties": "jobs on EKS",
}


@once
def scheduler() -> Scheduler:
    """Return the one scheduler, whose jobs outlive LocalStack with ``PERSISTENCE=1``."""
    folder = Path(config.dirs.data) / "containers" if config.PERSISTENCE else None
    made = Scheduler(queue(), environments.backend, folder)
    made.start()
    return made


# Queues and environments


def update_compute_environment(context: RequestContext, request: Request) -> Answer:
    """Change a compute environment, and start what has room by that."""
    answer = environments.update_compute_environment(context, request)
    scheduler().step(is_thorough=True)
    return answer


def update_job_queue(context: RequestContext, request: Request) -> Answer:
    """Change a job queue, and start what has room by that."""
    answer = environments.update_job_queue(context, request)
    scheduler().step(is_thorough=True)
    return answer


def delete_job_queue(context: RequestContext, request: Request) -> Answer:
    """Delete a disabled job queue, and end its jobs; one that is not there is no error."""
    found = environments.of(context).get_job_queue(request["jobQueue"])
    if not found:
        return {}
    if found.state != "DISABLED":
        raise client_exception("Cannot delete, resource must be in DISABLED state")
    for job in scheduler().of(found.arn):
        scheduler().end(job, True, "The job queue was deleted")
    return call_moto(context) or {}


# Definitions


def register_job_definition(context: RequestContext, request: Request) -> Answer:
    """Register a revision, if it is one that AWS takes."""
    definitions.check(request)
    made = definitions.register(environments.of(context), request)
    return {"jobDefinitionName": made.name, "jobDefinitionArn": made.arn, "revision": made.revision}


def describe_job_definitions(context: RequestContext, request: Request) -> Answer:
    """Describe definitions: by a name, by names with revisions or ARNs, or all."""
    backend = environments.of(context)
    if names := request.get("jobDefinitions"):
        found = [one for name in names for one in definitions.named(backend, name)]
    else:
        found = definitions.named(backend, request.get("jobDefinitionName") or "")
    status = request.get("status")
    answers = [one.describe() for one in found if status in (None, one.status)]
    described = [{name: value for name, value in one.items() if value is not None} for one in answers]
    return listing.page("jobDefinitions", described, "jobDefinitionArn", request, 100)


# Jobs


def submit_job(context: RequestContext, request: Request) -> Answer:
    """Take a job, or an array of them."""
    definitions.check_name(request["jobName"], "Job name")
    # As AWS measures it: in KiB of JSON.
    length = len(json.dumps(request, default=str))
    if length > LARGEST_REQUEST:
        raise client_exception(
            f"Job size must be less than {LARGEST_REQUEST >> 10} KiB, got {-(-length >> 10)} KiB"
        )
    backend = environments.of(context)
    job_queue = environments.job_queue(backend, request["jobQueue"])
    if job_queue.state != "ENABLED":
        raise client_exception(f"JobQueue {job_queue.name} is not in ENABLED state.")
    definition = definitions.find(backend, request["jobDefinition"])
    for name, what in _NOT_HERE.items():
        if getattr(definition, name):
            raise client_exception(f"Windtunnel does not run {what} ({definition.name}): see docs/batch.md")
    parent = _job(context, request, job_queue, definition)
    size = (request.get("arrayProperties") or {}).get("size")
    if size is not None and not SMALLEST_ARRAY <= size <= LARGEST_ARRAY:
        raise client_exception(f"Array size must be between {SMALLEST_ARRAY} and {LARGEST_ARRAY}")
    parent.size = size
    parent.waits_for = _waits_for(parent)
    task_definitions.register(definition, context.account_id, context.region)
    scheduler().add([parent, *_children(parent)])
    return {"jobName": parent.name, "jobId": parent.id, "jobArn": parent.arn}


def _job(context: RequestContext, request: Request, job_queue: Any, definition: Any) -> Job:
    overrides = request.get("containerOverrides") or {}
    definitions.check_variables(overrides.get("environment", ()))
    definitions.check_strategy(request.get("retryStrategy"))
    definitions.check_timeout(request.get("timeout"))
    parameters = {**definition.parameters, **(request.get("parameters") or {})}
    container = definitions.container(definition, overrides, parameters)
    platform = definitions.platform_of(definition.platform_capabilities)
    vcpus, memory = definitions.size(container, platform)
    strategy = request.get("retryStrategy") or definition.retry_strategy or {}
    timeout = request.get("timeout") or definition.timeout or {}
    tags = environments.of(context).list_tags_for_resource(definition.arn)
    propagates = bool(request.get("propagateTags", definition.propagate_tags))
    return Job(
        id=str(uuid4()),
        name=request["jobName"],
        account=context.account_id,
        region=context.region,
        queue=job_queue.arn,
        definition=definition.arn,
        container=container,
        vcpus=vcpus,
        memory=memory,
        platform=platform,
        created=time.time(),
        overrides=dict(overrides),
        retry={"attempts": strategy.get("attempts", 1), "evaluateOnExit": strategy.get("evaluateOnExit", [])},
        timeout=timeout.get("attemptDurationSeconds"),
        depends_on=[dict(one) for one in request.get("dependsOn") or []],
        kept={
            "parameters": parameters,
            "propagateTags": propagates,
            "tags": {**(tags if propagates else {}), **(request.get("tags") or {})},
            "shareIdentifier": request.get("shareIdentifier"),
            "schedulingPriority": request.get("schedulingPriorityOverride"),
        },
    )


def _waits_for(job: Job) -> list[str]:
    """Return the ids of the jobs that a job depends on as a whole.

    :raises CommonServiceException: ``ClientException``, if one is not there, or of the wrong kind.
    """
    if len(job.depends_on) > MOST_DEPENDENCIES:
        raise client_exception(f"A job can depend upon a maximum of {MOST_DEPENDENCIES} jobs")
    found = []
    for dependency in job.depends_on:
        kind, name = dependency.get("type"), dependency.get("jobId")
        if kind and not job.is_parent:
            raise client_exception(f"A dependency of type {kind} is for array jobs alone")
        if not name:
            if kind != "SEQUENTIAL":
                raise client_exception("A dependency must have a jobId, unless its type is SEQUENTIAL")
            continue
        other = scheduler().find(name)
        if not other or (other.account, other.region) != (job.account, job.region):
            raise client_exception(f"Job {name} that the job depends on does not exist")
        if kind == "N_TO_N" and (not other.is_parent or other.size != job.size):
            raise client_exception(f"Job {name} is not an array of the size {job.size}, as N_TO_N needs")
        if kind != "N_TO_N":
            found.append(other.id)
    return found


def _children(parent: Job) -> list[Job]:
    kinds = [(one.get("type"), one.get("jobId")) for one in parent.depends_on]
    children = []
    for index in range(parent.size or 0):
        own = [f"{name.rpartition('/')[2]}:{index}" for kind, name in kinds if name and kind == "N_TO_N"]
        if index and ("SEQUENTIAL", None) in kinds:
            own.append(f"{parent.id}:{index - 1}")
        fields = {
            **vars(parent),
            "id": f"{parent.id}:{index}",
            "parent": parent.id,
            "index": index,
            "attempts": [],
        }
        children.append(Job(**{**fields, "waits_for": [*parent.waits_for, *own]}))
    return children


def describe_jobs(context: RequestContext, request: Request) -> Answer:
    """Describe jobs; those that are not known are left out."""
    if len(request["jobs"]) > MOST_DESCRIBED:
        raise client_exception(f"Maximum number of jobs supported is  {MOST_DESCRIBED} .")
    scheduler().step()
    found = [_find(context, name) for name in request["jobs"]]
    return {"jobs": [jobs.described(job, scheduler().children(job)) for job in found if job]}


def list_jobs(context: RequestContext, request: Request) -> Answer:
    """List the jobs of a queue, or the children of an array."""
    given = [name for name in ("jobQueue", "arrayJobId", "multiNodeJobId") if request.get(name)]
    if len(given) != 1:
        raise client_exception("Exactly one of jobQueue, arrayJobId, multiNodeJobId must be given")
    scheduler().step()
    if request.get("jobQueue"):
        arn = environments.job_queue(environments.of(context), request["jobQueue"]).arn
        found = listing.filtered(scheduler().of(arn), request)
    else:
        parent = _find(context, request[given[0]])
        children = scheduler().children(parent) if parent else []
        found = listing.of_status(children, request.get("jobStatus"))
    summaries = [jobs.summary(job, scheduler().children(job)) for job in found]
    return listing.page(
        "jobSummaryList", summaries, "jobId", request, 100 if request.get("filters") else 1000
    )


def cancel_job(context: RequestContext, request: Request) -> Answer:
    """Cancel a job that has not begun; of others, and of unknown ones, nothing changes."""
    return _end(context, request, is_forced=False)


def terminate_job(context: RequestContext, request: Request) -> Answer:
    """End a job, begun or not; of one that has ended, and of an unknown one, nothing changes."""
    return _end(context, request, is_forced=True)


def _end(context: RequestContext, request: Request, is_forced: bool) -> Answer:
    for name in ("jobId", "reason"):
        if not request[name]:
            raise client_exception(f"'{name}' is a required field (cannot be an empty string)")
    if job := _find(context, request["jobId"]):
        scheduler().end(job, is_forced, request["reason"])
    return {}


def _find(context: RequestContext, name: str) -> Job | None:
    job = scheduler().find(name)
    return job if job and (job.account, job.region) == (context.account_id, context.region) else None


OPERATIONS: Mapping[str, Callable[[RequestContext, Request], Answer]] = {
    "CreateComputeEnvironment": environments.create_compute_environment,
    "DescribeComputeEnvironments": environments.describe_compute_environments,
    "UpdateComputeEnvironment": update_compute_environment,
    "DeleteComputeEnvironment": environments.delete_compute_environment,
    "CreateJobQueue": environments.create_job_queue,
    "UpdateJobQueue": update_job_queue,
    "DeleteJobQueue": delete_job_queue,
    "RegisterJobDefinition": register_job_definition,
    "DescribeJobDefinitions": describe_job_definitions,
    "SubmitJob": submit_job,
    "DescribeJobs": describe_jobs,
    "ListJobs": list_jobs,
    "CancelJob": cancel_job,
    "TerminateJob": terminate_job,
}
