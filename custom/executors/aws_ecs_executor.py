"""The amazon provider's executor for ECS, for this stack."""

from typing import Any

from airflow.providers.amazon.aws.executors.ecs import AwsEcsExecutor as ProvidersEcsExecutor

from custom.executors.aws_executor import AwsExecutor


class AwsEcsExecutor(AwsExecutor, ProvidersEcsExecutor):
    """Runs each task as a task of ECS."""

    def fail(self, key: Any, info: Any = None) -> None:
        """Give a task up, and say why on its page; the provider says it in the scheduler's log alone."""
        if key in self.active_workers.key_to_arn:
            task = self.active_workers.task_by_key(key)
            reasons = [task.stopped_reason, *(one.get("reason") for one in task.containers)]
            codes = [f"exit code {one['exit_code']}" for one in task.containers if "exit_code" in one]
            extra = "; ".join([f"{task.task_arn}: {task.last_status}", *filter(None, reasons), *codes])
            self.log_task_event(event="ecs task failed", extra=extra, ti_key=key)
        super().fail(key, info)
