"""A work-around for all executors: what they have to say of a task reaches the task's page."""

from typing import Any

from airflow.models.log import Log
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.session import create_session


class TaskEvents:
    """To be put before an executor of Airflow's among the bases of a class.

    Airflow 3.3 keeps events of executors until its scheduler saves them. While it does, nothing holds them,
    so Python frees each before it is written: the row is empty, the database refuses it, and the event is
    lost.
    """

    def log_task_event(self, *, event: str, extra: str, ti_key: Any) -> None:
        """Save an event of a task, which its page shows among the others.

        :param event: what has happened, in a word or two.
        :param extra: what there is to say of it.
        :param ti_key: the task's key; a callback has no events.
        """
        if isinstance(ti_key, TaskInstanceKey):
            with create_session() as session:
                session.add(Log(event=event, task_instance=ti_key, extra=extra))
