"""What an executor calls a task is in the database at once; tables and scheduler are Airflow's own."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock
from uuid import UUID

import pytest
from airflow.executors.base_executor import BaseExecutor
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.callback import CallbackKey
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import CallbackState, TaskInstanceState
from sqlalchemy import select

from custom.executors.aws_batch_executor import AwsBatchExecutor
from custom.executors.aws_ecs_executor import AwsEcsExecutor
from custom.executors.aws_lambda_executor import AwsLambdaExecutor
from custom.executors.external_executor_id import ExternalExecutorId
from tests.unit.custom.airflow_tables import ARN, TASK, Tables, opened

FIRST, SECOND, THIRD = (UUID(int=number) for number in (1, 2, 3))
KEY = TaskInstanceKey(**TASK, try_number=1)
CALLBACK = CallbackKey("0191b0a8-0000-7000-8000-000000000000")


class Executor(ExternalExecutorId, BaseExecutor):
    """Says what a test tells it to."""

    def _process_workloads(self, workload_items: Any) -> None:
        raise NotImplementedError


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tables]:
    with opened(monkeypatch) as tables:
        yield tables


def rows(tables: Tables) -> dict[UUID, str | None]:
    """What the executor calls each task instance, old ones among them."""
    with tables.session() as session:
        return {
            id: external
            for model, own_id in (
                (TaskInstance, TaskInstance.id),
                (TaskInstanceHistory, TaskInstanceHistory.task_instance_id),
            )
            for id, external in session.execute(select(own_id, model.external_executor_id))
        }


def test_that_try_of_that_task_has_it_and_no_other(tables: Tables) -> None:
    tables.current(FIRST, external=None)
    tables.current(SECOND, external=None, map_index=0)
    tables.current(THIRD, external="its own", try_number=2, map_index=1)
    executor = Executor()

    executor.running_state(KEY, ARN)
    executor.running_state(TaskInstanceKey(**TASK, try_number=1, map_index=1), "late")

    assert rows(tables) == {FIRST: ARN, SECOND: None, THIRD: "its own"}
    assert executor.get_event_buffer()[KEY] == (TaskInstanceState.RUNNING, ARN)


def test_a_try_that_is_over_by_then_has_it_among_the_old_ones(tables: Tables) -> None:
    tables.old(FIRST, external=None)
    tables.current(SECOND, try_number=2, external=None)

    Executor().running_state(KEY, ARN)

    assert rows(tables) == {FIRST: ARN, SECOND: None}


def test_what_is_no_task_has_no_row(tables: Tables) -> None:
    executor = Executor()

    executor.running_state(CALLBACK, ARN)

    assert executor.get_event_buffer()[CALLBACK] == (CallbackState.RUNNING, ARN)


def test_airflow_still_passes_over_locked_rows() -> None:
    """Once this fails, custom/executors/external_executor_id.py may go."""
    executor: Any = BaseExecutor()
    executor.running_state(KEY, ARN)
    session = MagicMock()
    session.scalars.return_value = iter(())

    SchedulerJobRunner.process_executor_events(
        executor=executor, job_id=1, scheduler_dag_bag=MagicMock(), session=session
    )

    (locks,) = (call.args[0]._for_update_arg for call in session.scalars.call_args_list)
    assert locks.skip_locked
    assert executor.get_event_buffer() == {}


def test_it_comes_before_the_providers_own() -> None:
    for executor in (AwsEcsExecutor, AwsBatchExecutor, AwsLambdaExecutor):
        assert executor.running_state is ExternalExecutorId.running_state, executor
