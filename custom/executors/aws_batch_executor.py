"""The amazon provider's executor for Batch, for this stack."""

from typing import Any

from airflow.providers.amazon.aws.executors.batch import AwsBatchExecutor as ProvidersBatchExecutor

from custom.executors.aws_executor import AwsExecutor


class AwsBatchExecutor(AwsExecutor, ProvidersBatchExecutor):
    """Runs each task as a job of Batch."""

    def fail(self, key: Any, info: Any = None) -> None:
        """Give a task up, and say why on its page; the provider says it in the scheduler's log alone."""
        job_id = self.active_workers.key_to_id.get(key)
        for job in self.batch.describe_jobs(jobs=[job_id])["jobs"] if job_id else ():
            container = job.get("container", {})
            reasons = [job.get("statusReason"), container.get("reason")]
            codes = [f"exit code {container['exitCode']}"] if "exitCode" in container else []
            extra = "; ".join([f"{job['jobArn']}: {job['status']}", *filter(None, reasons), *codes])
            self.log_task_event(event="batch job failed", extra=extra, ti_key=key)
        super().fail(key, info)
