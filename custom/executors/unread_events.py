"""A work-around for all executors: what the scheduler has not read, it is told again."""

import time
from typing import Any

from airflow.models.taskinstancekey import TaskInstanceKey

# How long an event is told again, in seconds. A row is locked for the time of one request, some milliseconds;
# the row of a task that was deleted never comes.
TOLD_AGAIN = 10.0


class UnreadEvents:
    """To be put before an executor of Airflow's among the bases of a class.

    Airflow 3.3 takes all events of an executor at once (``process_executor_events`` of its scheduler), and
    passes over each one whose row is locked, by the task's own first request for example. Such an event is
    lost: a task of ECS that starts quickly has no ARN in the database then, and the next scheduler cannot
    adopt it, so it runs twice (https://github.com/apache/airflow/issues/55004, mended for Celery alone).
    """

    event_buffer: dict[Any, Any]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take the arguments of the executor."""
        super().__init__(*arguments, **options)
        self._handed_out: dict[Any, Any] = {}
        self._since: dict[Any, float] = {}

    def get_event_buffer(self, dag_ids: list[str] | None = None) -> dict[Any, Any]:
        """Return the events since the last call, after those that were not read then.

        :param dag_ids: the DAGs to return events of; of all if it is None.
        :return: each workload's state and what the executor says of it. The scheduler takes out what it has
            read.
        """
        new = super().get_event_buffer(dag_ids)  # type: ignore[misc]
        unread = self._unread(new)
        # Of one task the scheduler is told one thing at a time: first that it runs, then that it has ended.
        self.event_buffer.update({key: event for key, event in new.items() if key in unread})
        self._handed_out = {**new, **unread}
        return self._handed_out

    def _unread(self, new: dict[Any, Any]) -> dict[Any, Any]:
        """Return the events that were handed out last time and still count."""
        now = time.monotonic()
        tried_again = {key.primary for key in new.keys() - self._handed_out.keys() if _is_task(key)}
        unread = {
            key: event
            for key, event in self._handed_out.items()
            if _is_task(key)
            and key.primary not in tried_again
            and now - self._since.setdefault(key, now) < TOLD_AGAIN
        }
        self._since = {key: self._since[key] for key in unread}
        return unread


def _is_task(key: Any) -> bool:
    return isinstance(key, TaskInstanceKey)
