"""A work-around for all executors: where a task runs is in the database before the task has begun."""

from typing import Any

from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils import session as airflow_session
from sqlalchemy import update


class ExternalExecutorId:
    """To be put before an executor of Airflow's among the bases of a class.

    Airflow 3.3 writes what an executor calls a task when it reads the executor's events
    (``process_executor_events`` of its scheduler), and passes over each task whose row is locked, by the
    task's own first request for example. So a task that starts quickly has no ARN in the database: the next
    scheduler cannot adopt it, and it runs twice (https://github.com/apache/airflow/issues/55004, mended for
    Celery alone). One that fails quickly has none among its old tries either.
    """

    def running_state(self, key: Any, info: Any = None) -> None:
        """Tell the scheduler that a task has been handed on, and save where to.

        :param key: the task's key; a callback has no row of its own.
        :param info: what the executor calls it: an ARN, the id of a job.
        """
        super().running_state(key, info)  # type: ignore[misc]
        if isinstance(key, TaskInstanceKey) and info:
            _save(key, info)


def _save(key: TaskInstanceKey, external_executor_id: str) -> None:
    """Wait for the row of a try, and write to it, or to that of an old try if it is over by then."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory

    with airflow_session.create_session() as session:
        for model in (TaskInstance, TaskInstanceHistory):
            row = (getattr(model, name) == value for name, value in key._asdict().items())
            values = {"external_executor_id": external_executor_id}
            session.execute(update(model).where(*row).values(values))
