"""What the scheduler is told of tasks, with Airflow's own executor but for its processes."""

import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.executors import local_executor
from airflow.executors.base_executor import BaseExecutor
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


def in_a_worker(monkeypatch: pytest.MonkeyPatch, run: Callable[..., object]) -> list[tuple[Any, ...]]:
    """What a worker of the executor reports of two workloads, which it runs with that function."""
    monkeypatch.setattr(BaseExecutor, "run_workload", staticmethod(run))
    executor = DeferralAwareLocalExecutor(parallelism=1)
    executor.start()
    workloads = [SimpleNamespace(key=key, running_state=None, display_name=str(key)) for key in (KEY, OTHER)]
    for workload in workloads:
        workload.success_state, workload.failure_state = TaskInstanceState.SUCCESS, TaskInstanceState.FAILED
        executor.activity_queue.put(workload)  # type: ignore[arg-type]
    with executor._unread_messages:
        executor._unread_messages.value += len(workloads)
    executor._spawn_worker()
    reports = [executor.result_queue.get() for _ in workloads]
    executor.end()
    return reports


def test_a_worker_runs_each_task_in_a_process_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that supervises tasks itself keeps 40 MB."""
    seen = tmp_path / "seen"

    def run(workload: Any, **options: Any) -> int:
        with seen.open("a") as file:
            file.write(f"{os.getpid()} {os.getppid()} {workload.key.try_number} {sorted(options)}\n")
        return 1  # a task that has failed is no failure of the workload

    reports = in_a_worker(monkeypatch, run)

    assert [(key, state) for key, state, _ in reports] == [
        (KEY, TaskInstanceState.SUCCESS),
        (OTHER, TaskInstanceState.SUCCESS),
    ]
    (first, worker, *one), (second, same_worker, *other) = map(str.split, seen.read_text().splitlines())
    assert first != second
    assert worker == same_worker != str(os.getpid())
    options = ["['proctitle',", "'server',", "'subprocess_logs_to_stdout']"]
    assert (one, other) == (["1", *options], ["2", *options])
    assert BaseExecutor.run_workload is run


def test_a_supervisor_that_fails_or_is_killed_is_a_failed_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed worker would say nothing, and the task would be running until its heartbeats are missed."""

    def run(workload: Any, **options: Any) -> int:
        if workload.key == KEY:
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("no such server")

    reports = in_a_worker(monkeypatch, run)

    assert [(key, state, str(why)) for key, state, why in reports] == [
        (KEY, TaskInstanceState.FAILED, f"the supervisor of {KEY} ended with exit code -9"),
        (OTHER, TaskInstanceState.FAILED, f"the supervisor of {OTHER} ended with exit code 1"),
    ]
