"""A task that goes on after a deferral waits until the executor has seen its first part end."""

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.executors.base_executor import BaseExecutor

from custom.executors.aws_batch_executor import AwsBatchExecutor
from custom.executors.aws_ecs_executor import AwsEcsExecutor
from custom.executors.aws_lambda_executor import AwsLambdaExecutor
from custom.executors.deferral_aware import DeferralAware


class Executor(DeferralAware, BaseExecutor):
    """Keeps what it is to run, by any key."""

    running: set[Any]
    queued_tasks: dict[Any, Any]

    def _process_workloads(self, workload_items: Any) -> None:
        for workload in workload_items:
            del self.queued_tasks[workload.ti.key]
            self.running.add(workload.ti.key)

    def queue(self, *keys: str) -> None:
        for key in keys:
            ti = SimpleNamespace(key=key, priority_weight=1)
            self.queued_tasks[key] = SimpleNamespace(ti=ti)


@pytest.fixture
def executor() -> Executor:
    return Executor(parallelism=2)


def test_a_task_that_still_runs_is_held_back(executor: Executor) -> None:
    executor.queue("deferred", "other")
    executor.heartbeat()
    executor.queue("deferred")
    executor.heartbeat()

    assert list(executor.queued_tasks) == ["deferred"]
    executor.running.discard("deferred")
    executor.heartbeat()
    assert list(executor.queued_tasks) == []


def test_one_that_is_held_back_takes_no_slot_from_another(executor: Executor) -> None:
    executor.queue("deferred")
    executor.heartbeat()
    executor.queue("deferred", "other")
    executor.heartbeat()

    assert executor.running == {"deferred", "other"}
    assert list(executor.queued_tasks) == ["deferred"]


def test_it_comes_before_the_providers_own() -> None:
    for executor in (AwsEcsExecutor, AwsBatchExecutor, AwsLambdaExecutor):
        method = executor._get_workloads_to_schedule
        assert method is DeferralAware._get_workloads_to_schedule, executor
