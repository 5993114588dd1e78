"""Events that the scheduler has passed over are told again; the scheduler is Airflow's own."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from airflow.executors.base_executor import BaseExecutor
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import TaskInstanceState

from custom.executors import unread_events
from custom.executors.aws_batch_executor import AwsBatchExecutor
from custom.executors.aws_ecs_executor import AwsEcsExecutor
from custom.executors.aws_lambda_executor import AwsLambdaExecutor
from custom.executors.unread_events import UnreadEvents


class Executor(UnreadEvents, BaseExecutor):
    """Says what a test tells it to."""

    def _process_workloads(self, workload_items: Any) -> None:
        raise NotImplementedError


def key_of(task_id: str, try_number: int = 1) -> TaskInstanceKey:
    return TaskInstanceKey("dag", task_id, "run", try_number)


FIRST, SECOND = key_of("first"), key_of("second")


@pytest.fixture
def executor() -> Executor:
    return Executor()


def read(executor: Executor, *keys: TaskInstanceKey) -> dict[str, str | None]:
    """Let the scheduler read events of those tasks alone, as if all other rows were locked."""
    rows = [
        SimpleNamespace(key=key, try_number=key.try_number, state=None, external_executor_id=None)
        for key in keys
    ]
    session = MagicMock()
    session.scalars.return_value = iter(rows)
    SchedulerJobRunner.process_executor_events(
        executor=executor, job_id=1, scheduler_dag_bag=MagicMock(), session=session
    )
    return {row.key.task_id: row.external_executor_id for row in rows}


def test_what_was_passed_over_comes_again_and_what_was_read_does_not(executor: Executor) -> None:
    executor.running_state(FIRST, "one")
    executor.running_state(SECOND, "two")

    assert read(executor, FIRST) == {"first": "one"}
    assert read(executor, SECOND) == {"second": "two"}
    assert executor.get_event_buffer() == {}


def test_the_end_of_a_task_comes_after_its_start(executor: Executor) -> None:
    executor.running_state(FIRST, "one")
    read(executor)
    executor.success(FIRST)

    assert read(executor, FIRST) == {"first": "one"}
    assert executor.get_event_buffer() == {FIRST: (TaskInstanceState.SUCCESS, None)}


def test_a_new_try_takes_the_place_of_the_old_one(executor: Executor) -> None:
    executor.running_state(FIRST, "one")
    read(executor)
    executor.running_state(key_of("first", 2), "again")

    assert list(executor.get_event_buffer()) == [key_of("first", 2)]


def test_a_task_that_is_gone_is_told_for_a_while_only(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor.running_state(FIRST, "one")
    read(executor)
    assert FIRST in executor.get_event_buffer()

    monkeypatch.setattr(unread_events, "TOLD_AGAIN", 0.0)
    assert executor.get_event_buffer() == {}


def test_it_comes_before_the_providers_own() -> None:
    for executor in (AwsEcsExecutor, AwsBatchExecutor, AwsLambdaExecutor):
        assert executor.get_event_buffer is UnreadEvents.get_event_buffer, executor
