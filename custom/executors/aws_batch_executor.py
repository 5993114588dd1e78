"""The amazon provider's executor for Batch, for this stack."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from airflow.providers.amazon.aws.executors.batch import AwsBatchExecutor as ProvidersBatchExecutor
from botocore.exceptions import BotoCoreError, ClientError

from custom.executors.aws_executor import AwsExecutor


class AwsBatchExecutor(AwsExecutor, ProvidersBatchExecutor):
    """Runs each task as a job of Batch."""

    _job_ids: Mapping[Any, str] = {}

    def sync_running_jobs(self) -> None:
        """See how the jobs fare; the provider forgets a failed one before it gives its task up."""
        self._job_ids = dict(self.active_workers.key_to_id)
        super().sync_running_jobs()  # type: ignore[no-untyped-call]

    def fail(self, key: Any, info: Any = None) -> None:
        """Give a task up, and say why on its page; the provider says it in the scheduler's log alone."""
        # A reason that cannot be had keeps no task from its end.
        with suppress(BotoCoreError, ClientError):
            for reason in self._reasons(key):
                self.log_task_event(event="batch job failed", extra=reason, ti_key=key)
        super().fail(key, info)

    def _reasons(self, key: Any) -> Iterator[str]:
        """Yield what Batch says of the failed job of a task."""
        job_id = self._job_ids.get(key)
        for job in self.batch.describe_jobs(jobs=[job_id])["jobs"] if job_id else ():
            container = job.get("container", {})
            reasons = [job.get("statusReason"), container.get("reason")]
            codes = [f"exit code {container['exitCode']}"] if "exitCode" in container else []
            yield "; ".join([f"{job['jobArn']}: {job['status']}", *filter(None, reasons), *codes])
