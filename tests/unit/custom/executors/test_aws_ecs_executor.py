"""The provider's executor for ECS, as this stack has it."""

from typing import Any

import pytest
from airflow.executors.base_executor import BaseExecutor
from airflow.providers.amazon.aws.executors.ecs.utils import EcsExecutorTask, EcsTaskCollection

from custom.executors.aws_ecs_executor import AwsEcsExecutor

KEY: Any = "key"


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> AwsEcsExecutor:
    """One without a connection to ECS, which the provider makes at once; a task of ECS has failed."""
    executor = object.__new__(AwsEcsExecutor)
    executor.active_workers = EcsTaskCollection()  # type: ignore[no-untyped-call]
    containers = [{"exit_code": 137, "reason": "OutOfMemoryError: killed"}]
    task = EcsExecutorTask(
        "arn", "STOPPED", "STOPPED", containers, stopped_reason="Essential container exited"
    )
    executor.active_workers.add_task(task, KEY, None, [], {}, 1)
    return executor


def test_why_a_task_failed_is_told_before_it_is_given_up(
    executor: AwsEcsExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(BaseExecutor, "fail", lambda self, key, info=None: said.append(f"failed: {key}"))
    monkeypatch.setattr(
        AwsEcsExecutor, "log_task_event", lambda self, event, extra, ti_key: said.append(f"{ti_key}: {extra}")
    )

    executor.fail(KEY)
    executor.fail("one that was never placed")

    assert said == [
        "key: arn: STOPPED; Essential container exited; OutOfMemoryError: killed; exit code 137",
        "failed: key",
        "failed: one that was never placed",
    ]


def test_the_end_of_the_scheduler_does_not_wait_for_tasks(
    executor: AwsEcsExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    monkeypatch.setattr(AwsEcsExecutor, "sync", lambda self: looks.append(1))

    executor.end()

    assert looks == [1]
