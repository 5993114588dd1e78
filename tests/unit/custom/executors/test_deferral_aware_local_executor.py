"""What the scheduler is told of tasks, with Airflow's own executor but for its processes."""

import gc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.executors import local_executor
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import TaskInstanceState

from custom.executors.deferral_aware_local_executor import DeferralAwareLocalExecutor

KEY = TaskInstanceKey("dag", "task", "run", 1, -1)
OTHER = KEY.with_try_number(2)


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> DeferralAwareLocalExecutor:
    monkeypatch.setattr(local_executor.LocalExecutor, "_process_workloads", lambda *_: None)
    return DeferralAwareLocalExecutor(parallelism=1)


def hand_out(executor: DeferralAwareLocalExecutor, *keys: TaskInstanceKey) -> None:
    executor._process_workloads([SimpleNamespace(key=key) for key in keys])


def told(executor: DeferralAwareLocalExecutor) -> list[tuple[Any, Any]]:
    return [(key, state) for key, (state, _) in executor.get_event_buffer().items()]


@pytest.mark.parametrize("state", [TaskInstanceState.SUCCESS, TaskInstanceState.FAILED])
def test_the_end_of_a_task_is_told(executor: DeferralAwareLocalExecutor, state: TaskInstanceState) -> None:
    hand_out(executor, KEY)

    executor.change_state(KEY, state)

    assert told(executor) == [(KEY, state)]


def test_the_end_of_a_deferral_is_not_told_once_the_task_goes_on(
    executor: DeferralAwareLocalExecutor,
) -> None:
    hand_out(executor, KEY, OTHER)
    hand_out(executor, KEY)

    executor.change_state(KEY, TaskInstanceState.SUCCESS)

    assert told(executor) == []

    executor.change_state(KEY, TaskInstanceState.SUCCESS)

    assert told(executor) == [(KEY, TaskInstanceState.SUCCESS)]


def test_a_failure_is_told_whatever_else_is_under_way(executor: DeferralAwareLocalExecutor) -> None:
    hand_out(executor, KEY)
    hand_out(executor, KEY)

    executor.change_state(KEY, TaskInstanceState.FAILED)

    assert told(executor) == [(KEY, TaskInstanceState.FAILED)]


def test_what_it_has_not_handed_out_is_told(executor: DeferralAwareLocalExecutor) -> None:
    """A restarted scheduler takes over tasks that it did not start."""
    executor.change_state(KEY, TaskInstanceState.SUCCESS)
    executor.change_state(OTHER, TaskInstanceState.RUNNING)

    assert told(executor) == [(KEY, TaskInstanceState.SUCCESS), (OTHER, TaskInstanceState.RUNNING)]


@pytest.fixture
def thawed() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("thawed")
def test_what_was_frozen_is_frozen_again_after_workers_have_started(
    executor: DeferralAwareLocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_executor.LocalExecutor, "_spawn_worker", lambda _: None)

    executor.workers = {}
    hand_out(executor, KEY)

    executor._spawn_workers_with_gc_freeze(1)
    assert gc.get_freeze_count() == 0

    gc.freeze()
    executor._spawn_workers_with_gc_freeze(1)
    assert gc.get_freeze_count() > 0


def test_there_are_no_more_workers_than_tasks(
    executor: DeferralAwareLocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one that has run a task keeps 40 MB."""

    def spawn(self: DeferralAwareLocalExecutor) -> None:
        self.workers[len(self.workers)] = SimpleNamespace()  # type: ignore[assignment]

    monkeypatch.setattr(local_executor.LocalExecutor, "_spawn_worker", spawn)
    executor.workers = {}
    counts = []
    for tasks in ((), (KEY,), (OTHER,)):
        hand_out(executor, *tasks)
        executor._spawn_workers_with_gc_freeze(16 - len(executor.workers))
        counts.append(len(executor.workers))
    executor.change_state(KEY, TaskInstanceState.SUCCESS)
    hand_out(executor, KEY.with_try_number(3))
    executor._spawn_workers_with_gc_freeze(14)

    assert counts == [0, 1, 2]
    assert len(executor.workers) == 2


def test_a_task_that_goes_on_after_a_failed_deferral_has_a_worker(
    executor: DeferralAwareLocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one it waits until another task ends, which may be never."""
    spawned: list[None] = []
    monkeypatch.setattr(local_executor.LocalExecutor, "_spawn_worker", lambda _: spawned.append(None))
    executor.workers = {}
    hand_out(executor, KEY, KEY)

    executor.change_state(KEY, TaskInstanceState.FAILED)
    executor._spawn_workers_with_gc_freeze(1)

    assert len(spawned) == 1
