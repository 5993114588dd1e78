"""A work-around for all executors: the end of a deferral is not taken for the end of the task."""

from typing import Any


class DeferralAware:
    """To be put before an executor of Airflow's among the bases of a class.

    A task that defers leaves its process, and the executor reports that as a success. If the trigger fires
    before the scheduler reads that report, the task is queued or runs again by then, under the same key, and
    Airflow 3.3 fails it: "finished with state success, but the task instance's state attribute is queued"
    (https://github.com/apache/airflow/issues/72716). Executors that look at their tasks from time to time
    read it late: with Batch and Lambda all tasks failed that deferred for no time at all.

    So a task is held back while the executor still runs it. Then it is among the queued ones when the report
    is read, which the scheduler takes for a task that goes on.
    """

    running: set[Any]

    def _get_workloads_to_schedule(self, open_slots: int) -> list[tuple[Any, Any]]:
        held = len(self.running.intersection(self.queued_tasks))  # type: ignore[attr-defined]
        found = super()._get_workloads_to_schedule(open_slots + held)  # type: ignore[misc]
        return [(key, workload) for key, workload in found if key not in self.running][: max(open_slots, 0)]
