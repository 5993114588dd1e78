"""Runs of the DAGs of tests/dags/executor_dags.py, by what their tasks leave in the bucket of the logs."""

from collections.abc import Callable
from typing import Any

from tests.support import BUCKET


def starts(s3: Any, run_id: str) -> list[str]:
    """Return the tasks of a run that have started, each as often as it has."""
    prefix = f"test-executor/{run_id}/started/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return sorted(found["Key"].split("/")[3] for page in pages for found in page.get("Contents", ()))


def release(s3: Any, run_id: str) -> None:
    """Let the waiting tasks of a run end."""
    s3.put_object(Bucket=BUCKET, Key=f"test-executor/{run_id}/released", Body=b"")


def at_work(aws: Callable[[str], Any]) -> list[str]:
    """Return what ECS and Batch have that has not ended: ARNs of tasks, ids of jobs.

    :param aws: returns boto3's client for a service.
    """
    ecs, batch = aws("ecs"), aws("batch")
    found = []
    for cluster in ecs.list_clusters()["clusterArns"]:
        found += ecs.list_tasks(cluster=cluster, desiredStatus="RUNNING")["taskArns"]
    for queue in batch.describe_job_queues()["jobQueues"]:
        for status in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"):
            jobs = batch.list_jobs(jobQueue=queue["jobQueueName"], jobStatus=status)["jobSummaryList"]
            found += [job["jobId"] for job in jobs]
    return found
