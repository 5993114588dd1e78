"""A link from a task's page to the output of the container in which an executor has run the task."""

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from airflow.sdk import BaseOperatorLink

from custom.links.container_streams import EXECUTORS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey
    from sqlalchemy import Row

# Where custom/plugins/cloudwatch_logs.py leads on to the log stream, relative to the web page.
PAGE = "cloudwatch/container-log"

_TASK = ("dag_id", "task_id", "run_id", "map_index")
_COLUMNS = ("try_number", "executor", "external_executor_id", "executor_config", "queued_dttm")


class TaskTry(NamedTuple):
    """A try of a task that a container has run.

    :param id: of the task instance, which has another one for each try.
    :param executor: the name of its class.
    :param external_executor_id: what the executor calls the container: the ARN of a task of ECS, the id of a
        job of Batch, the key of a call of Lambda.
    :param queued_at: when it was queued; a task that was deferred is queued again.
    """

    id: "UUID"
    executor: str
    external_executor_id: str
    executor_config: dict[str, Any]
    queued_at: "datetime | None"


class ContainerLogLink(BaseOperatorLink):
    """The button "Container log" on a task's page. It is not there for a try that no container has run."""

    name = "Container log"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """Return where the output of a try's container is shown; empty if there is none."""
        found = _of_key(ti_key)
        return f"{PAGE}?{urlencode({'task_instance': found.id})}" if found else ""


def links() -> list[BaseOperatorLink]:
    """Return the link, if this Airflow has an executor whose tasks may need it."""
    # Every process that reads DAGs asks for links.
    from airflow.executors.executor_loader import ExecutorLoader

    names = ExecutorLoader.get_executor_names(validate_teams=False)
    return [ContainerLogLink()] if any(_class_name(name) in EXECUTORS for name in names) else []


def task_try(task_instance: "UUID") -> TaskTry | None:
    """Return a try of a task by its own id; None if there is none that a container has run."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory

    for model in (TaskInstanceHistory, TaskInstance):
        for row in _rows(model, _own_id(model) == task_instance):
            return _of_row(row)
    return None


def _of_key(key: "TaskInstanceKey") -> TaskTry | None:
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory

    old, current = (
        _rows(model, *(getattr(model, name) == getattr(key, name) for name in _TASK))
        for model in (TaskInstanceHistory, TaskInstance)
    )
    # Of a try that is over the old ones tell: its task instance may have the id of the next one already.
    for row in old:
        if row.try_number == key.try_number:
            return _of_row(row)
    # Until the executor says where a try runs, it has what the one before has left.
    left = {row.external_executor_id for row in old}
    for row in current:
        if row.try_number == key.try_number and row.external_executor_id not in left:
            return _of_row(row)
    return None


def _own_id(model: Any) -> Any:
    from sqlalchemy import inspect

    (own_id,) = inspect(model).primary_key
    return own_id


def _rows(model: Any, *conditions: Any) -> "Sequence[Row[Any]]":
    """Read tries: of the table of task instances, or of that of the old ones."""
    from airflow.utils.session import create_session
    from sqlalchemy import select

    columns = [getattr(model, name) for name in _COLUMNS]
    with create_session() as session:
        return session.execute(select(_own_id(model).label("id"), *columns).where(*conditions)).all()


def _of_row(row: Any) -> TaskTry | None:
    from airflow.exceptions import UnknownExecutorException
    from airflow.executors.executor_loader import ExecutorLoader

    try:
        name = (
            ExecutorLoader.lookup_executor_name_by_str(row.executor)
            if row.executor
            else ExecutorLoader.get_default_executor_name()
        )
    except UnknownExecutorException:  # of a stack with another overlay
        return None
    if not row.external_executor_id or _class_name(name) not in EXECUTORS:
        return None
    return TaskTry(
        row.id, _class_name(name), row.external_executor_id, row.executor_config or {}, row.queued_dttm
    )


def _class_name(executor: Any) -> str:
    return str(executor.module_path).rpartition(".")[2]
