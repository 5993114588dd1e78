"""Airflow's own tables of tries, in memory; for tests of what reads and writes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from airflow.models import import_all_models
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.utils import session as airflow_session
from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

ARN = "arn:aws:ecs:ap-southeast-2:000000000000:task/airflow/0123"
QUEUED = datetime(2026, 8, 30, 10, tzinfo=UTC)
TASK: dict[str, Any] = {"dag_id": "dag", "task_id": "task", "run_id": "run"}


class Tables:
    """Tables of tries, empty at first."""

    def __init__(self) -> None:
        # Its tables refer to one another.
        import_all_models()  # type: ignore[no-untyped-call]
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        for model in (TaskInstance, TaskInstanceHistory):
            model.__table__.create(self.engine)

    @contextmanager
    def session(self) -> Iterator[Session]:
        with Session(self.engine) as session:
            yield session
            session.commit()

    def current(self, id: UUID, try_number: int = 1, external: str | None = ARN, **columns: Any) -> None:
        self._add(TaskInstance, {"id": id}, try_number, external, columns)

    def old(self, id: UUID, try_number: int = 1, external: str | None = ARN, **columns: Any) -> None:
        self._add(TaskInstanceHistory, {"task_instance_id": id}, try_number, external, columns)

    def _add(self, model: Any, own_id: dict[str, UUID], number: int, external: Any, columns: Any) -> None:
        row = {
            **TASK,
            **own_id,
            "map_index": -1,
            "try_number": number,
            "external_executor_id": external,
            "queued_dttm": QUEUED,
            "pool": "default_pool",
            "pool_slots": 1,
            "span_status": "not_started",
            "executor_config": {},
            **columns,
        }
        with self.session() as session:
            session.execute(insert(model).values(row))


@contextmanager
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tables]:
    """Let Airflow's sessions use the tables."""
    tables = Tables()
    monkeypatch.setattr(airflow_session, "create_session", tables.session)
    yield tables
    tables.engine.dispose()
