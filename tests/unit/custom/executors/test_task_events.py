"""The events of executors, with Airflow's own way of saving them."""

from collections import deque

import pytest
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.log import Log
from sqlalchemy import create_engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session


def test_airflow_still_loses_events_of_executors() -> None:
    """Once this fails, custom/executors/task_events.py may go."""
    engine = create_engine("sqlite://")
    Log.__table__.create(engine)
    with Session(engine) as session:
        with pytest.raises(IntegrityError, match=r"log\.event"):
            SchedulerJobRunner._process_task_event_logs(deque([Log(event="lost")]), session)
        session.rollback()
        assert session.scalars(select(Log)).all() == []
    engine.dispose()
