"""The main job: every 30 seconds a run of the demo, with no one doing anything.

By its name one of the last files of this floor: the runs that it looks for come while the others are tested.
"""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from windtunnel.waiting import wait_until

pytestmark = pytest.mark.executor

PERIOD = timedelta(seconds=30)
# A run waits for the scheduler's next loop, and for the run before it, which takes 6 s and more.
LATE = timedelta(seconds=15)


def test_runs_every_30_seconds_by_itself(metadata_db: Any) -> None:
    def three_scheduled_runs() -> list[Any] | None:
        with metadata_db.cursor() as cursor:
            cursor.execute(
                "SELECT run_after, start_date, state FROM dag_run WHERE dag_id = 'demo-dag'"
                " AND run_type = 'scheduled' AND start_date IS NOT NULL ORDER BY run_after"
            )
            runs: list[Any] = cursor.fetchall()
        return runs if len(runs) >= 3 else None

    runs = wait_until("three scheduled runs of demo-dag", three_scheduled_runs, timeout=100, interval=0.5)

    due = [run_after for run_after, _, _ in runs]
    # Where the scheduler is late itself, Airflow counts on from there.
    assert all(PERIOD <= later - earlier < PERIOD + LATE for earlier, later in pairwise(due)), due
    # The first one was due before the stack was there.
    assert all(start_date - run_after < LATE for run_after, start_date, _ in runs[1:]), runs
    assert {state for _, _, state in runs} <= {"running", "success", "failed"}
