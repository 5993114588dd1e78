from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.throughput import LAST_STAGE, STAGES, stages
from windtunnel.airflow_api.task_log import LogRecord, TaskLog

START = datetime(2026, 1, 1, tzinfo=UTC)


def record(seconds: float, message: str, logger: str = "task") -> LogRecord:
    return LogRecord(START + timedelta(seconds=seconds), "info", message, logger)


TASK: Any = SimpleNamespace(map_index=7, start_date=START, end_date=START + timedelta(seconds=2))
RECORDS = [
    record(0.25, "Worker startup parse complete"),
    record(0.5, "Invoking bench-lines ($LATEST), payload of 9 bytes"),
    record(0.75, "line 1 of 2", "lambda.bench-lines"),
    record(1.5, "line 2 of 2", "lambda.bench-lines"),
    record(1.75, "::endgroup::"),
]


def test_a_running_tasks_time_is_divided_by_what_its_log_says() -> None:
    assert stages(TASK, TaskLog(RECORDS, [])) == dict(
        zip([*STAGES, LAST_STAGE], [0.25, 0.25, 1.0, 0.5], strict=True)
    )


def test_a_stage_that_the_log_does_not_name_is_no_figure() -> None:
    with pytest.raises(ValueError, match="the log of task 7 does not say: hooks and clients are made"):
        stages(TASK, TaskLog(RECORDS[:1], []))
