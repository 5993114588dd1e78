"""Airflow's LocalExecutor, which does not take the end of a deferral for the end of the task."""

import gc
from collections import Counter
from collections.abc import Sequence
from typing import Any

from airflow.executors.local_executor import LocalExecutor
from airflow.utils.state import TaskInstanceState

ENDED = frozenset({TaskInstanceState.SUCCESS, TaskInstanceState.FAILED})


class DeferralAwareLocalExecutor(LocalExecutor):
    """Runs tasks in processes of the scheduler's machine.

    A task that defers leaves its process, which the executor reports as a success. If the trigger fires
    before the scheduler reads that report, the task is queued or runs again by then, under the same key, and
    Airflow 3.3 fails it: "finished with state success, but the task instance's state attribute is queued"
    (https://github.com/apache/airflow/issues/72716). On a busy machine it failed two tasks in ninety. So a
    report of success is passed over while the same task has been handed out once more.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take the arguments of Airflow's executor."""
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        self._handed_out: Counter[Any] = Counter()

    def _spawn_workers_with_gc_freeze(self, spawn_number: int) -> None:
        """Start a worker for each task that has none, and freeze again what was frozen before.

        Airflow asks for one for each slot at once. A worker grows by 40 MB at its first task and keeps that,
        so there are no more of them than tasks have ever been at the same time.
        Airflow thaws everything afterwards. On the local engine the fork server had frozen what services
        share with it, and the scheduler's next full collection copied 90 MB of that.
        """
        missing = min(spawn_number, self._handed_out.total() - len(self.workers))
        if missing <= 0:
            return
        was_frozen = gc.get_freeze_count()
        super()._spawn_workers_with_gc_freeze(missing)  # type: ignore[no-untyped-call]
        if was_frozen:
            gc.freeze()

    def _process_workloads(self, workload_list: Sequence[Any]) -> None:
        self._handed_out.update(workload.key for workload in workload_list)
        super()._process_workloads(workload_list)  # type: ignore[no-untyped-call]

    def change_state(self, key: Any, state: Any, info: Any = None, remove_running: bool = True) -> None:
        """Note for the scheduler how a task has ended, unless it goes on already."""
        if state in ENDED:
            self._handed_out[key] -= 1
            if self._handed_out[key] > 0 and state == TaskInstanceState.SUCCESS:
                self.log.info("%s was deferred and goes on", key)
                return
            if self._handed_out[key] <= 0:
                del self._handed_out[key]
        super().change_state(key, state, info, remove_running)
