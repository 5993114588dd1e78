"""What control planes need beyond moto: runs of DataBrew's jobs, metrics of crawlers, ARNs of S3 Vectors.

Runs inside LocalStack.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from localstack.aws.api import CommonServiceException, RequestContext
from localstack.services.moto import call_moto
from moto.backends import get_backend
from moto.moto_api._internal.managed_state_model import ManagedState

type Request = Mapping[str, Any]
type Answer = dict[str, Any]


class Run(ManagedState):
    """A run of a job."""

    def __init__(self, context: RequestContext, job: str) -> None:
        """Start it."""
        super().__init__("databrew::run", [("STARTING", "RUNNING"), ("RUNNING", "SUCCEEDED")])
        self.id = f"db_{uuid4().hex}"
        self.key = (context.account_id, context.region, job, self.id)
        self.started = datetime.now(UTC)

    def description(self) -> Answer:
        """Return what DataBrew says of it."""
        return {"JobName": self.key[2], "RunId": self.id, "State": self.status, "StartedOn": self.started}


def _backend(service: str, context: RequestContext, region: str | None = None) -> Any:
    """Return moto's records of a service; asked for here, so only a service that is called is imported."""
    return get_backend(service)[context.account_id][region or context.region]  # type: ignore[call-overload]


_RUNS: dict[tuple[str, str, str, str], Run] = {}


def start_job_run(context: RequestContext, request: Request) -> Answer:
    """Start a run of a job.

    :raises CommonServiceException: if there is no such job.
    """
    if request["Name"] not in _backend("databrew", context).jobs:
        raise _not_found(f"Job {request['Name']}")
    run = Run(context, request["Name"])
    _RUNS[run.key] = run
    return {"RunId": run.id}


def describe_job_run(context: RequestContext, request: Request) -> Answer:
    """Describe a run.

    :raises CommonServiceException: if there is no such run.
    """
    key = (context.account_id, context.region, request["Name"], request["RunId"])
    if key not in _RUNS:
        raise _not_found(f"Job run {request['RunId']}")
    return _RUNS[key].description()


def _not_found(what: str) -> CommonServiceException:
    return CommonServiceException("ResourceNotFoundException", f"{what} wasn't found.", status_code=404)


def get_crawler_metrics(context: RequestContext, request: Request) -> Answer:
    """Say of crawlers that they have changed nothing; of all if none is named."""
    names = request.get("CrawlerNameList") or _backend("glue", context).crawlers
    times = dict.fromkeys(("LastRuntimeSeconds", "MedianRuntimeSeconds", "TimeLeftSeconds"), 0.0)
    tables = dict.fromkeys(("TablesCreated", "TablesUpdated", "TablesDeleted"), 0)
    said = {"StillEstimating": False, **times, **tables}
    return {"CrawlerMetricsList": [{"CrawlerName": name, **said} for name in names]}


def create_vector_bucket(context: RequestContext, request: Request) -> Answer:
    """Let moto create a bucket, and say its ARN, as AWS does of late."""
    call_moto(context)
    backend = _backend("s3vectors", context, "aws")
    return {"vectorBucketArn": backend.get_vector_bucket(request["vectorBucketName"]).vector_bucket_arn}


def create_index(context: RequestContext, request: Request) -> Answer:
    """Let moto create an index, and say its ARN."""
    call_moto(context)
    backend = _backend("s3vectors", context, "aws")
    bucket = backend.get_vector_bucket(request.get("vectorBucketName"), request.get("vectorBucketArn"))
    return {"indexArn": f"{bucket.vector_bucket_arn}/index/{request['indexName']}"}


OPERATIONS: Mapping[str, Mapping[str, Callable[[RequestContext, Request], Answer]]] = {
    "databrew": {"StartJobRun": start_job_run, "DescribeJobRun": describe_job_run},
    "glue": {"GetCrawlerMetrics": get_crawler_metrics},
    "s3vectors": {"CreateVectorBucket": create_vector_bucket, "CreateIndex": create_index},
}
