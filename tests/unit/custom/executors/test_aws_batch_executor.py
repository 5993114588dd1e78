"""The provider's executor for Batch, as this stack has it."""

from typing import Any

import pytest
from airflow.executors.base_executor import BaseExecutor
from airflow.providers.amazon.aws.executors.batch.utils import BatchJobCollection
from botocore.exceptions import ClientError

from custom.executors.aws_batch_executor import AwsBatchExecutor
from custom.executors.deferral_aware import DeferralAware


def test_the_end_of_the_scheduler_does_not_wait_for_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(AwsBatchExecutor, "sync", lambda self: looks.append(1))
    # Without a connection to Batch, which the provider makes at once; a job runs.
    executor = object.__new__(AwsBatchExecutor)
    executor.active_workers = ["job"]  # type: ignore[assignment]

    executor.end()

    assert looks == [1]


def test_deferrals_are_seen_to_before_the_providers_own_scheduling() -> None:
    own = AwsBatchExecutor._get_workloads_to_schedule

    assert own is DeferralAware._get_workloads_to_schedule


class Batch:
    """Batch's client, with one job that has failed."""

    def __init__(self, answers: int = 2) -> None:
        self._answers = answers

    def describe_jobs(self, jobs: list[str]) -> dict[str, Any]:
        if not self._answers:
            raise ClientError({"Error": {"Code": "ServerException", "Message": "not now"}}, "DescribeJobs")
        self._answers -= 1
        container = {"exitCode": 137, "reason": "OutOfMemoryError: killed"}
        failed = {"status": "FAILED", "statusReason": "Task exited", "container": container}
        return {"jobs": [{"jobId": jobs[0], "jobArn": f"arn:{jobs[0]}", **failed}]}


@pytest.mark.parametrize(
    ("answers", "told"),
    [(2, ["arn:id: FAILED; Task exited; OutOfMemoryError: killed; exit code 137"]), (1, [])],
)
def test_why_a_job_failed_is_told_and_the_task_is_given_up_in_any_case(
    monkeypatch: pytest.MonkeyPatch, answers: int, told: list[str]
) -> None:
    said: list[str] = []
    failed: list[str] = []
    monkeypatch.setattr(BaseExecutor, "fail", lambda self, key, info=None: failed.append(key))
    monkeypatch.setattr(
        AwsBatchExecutor, "log_task_event", lambda self, event, extra, ti_key: said.append(extra)
    )
    executor = object.__new__(AwsBatchExecutor)
    executor.active_workers = BatchJobCollection()  # type: ignore[no-untyped-call]
    executor.max_submit_job_attempts = "1"
    executor.batch = Batch(answers)
    key: Any = "key"
    job: dict[str, Any] = {"airflow_cmd": [], "queue": "", "exec_config": {}, "attempt_number": 1}
    executor.active_workers.add_job(job_id="id", airflow_workload_key=key, **job)

    executor.sync_running_jobs()

    assert said == told
    assert failed == ["key"]
