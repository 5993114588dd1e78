"""Writes the lines of a function into a task log."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from custom.relay.sanitising import sanitised


@dataclass(frozen=True)
class Line:
    """One line for the task log: level of ``logging``, text, milliseconds since the epoch."""

    level: int
    text: str
    timestamp: int


def task_log_writer(function_name: str) -> Callable[[Line], None]:
    """Return what writes lines into the log of the running task, under the logger ``lambda.<function>``.

    Airflow's logging adds a time only to records without one, so the record carries the function's time.
    Lines of the same millisecond are counted apart in the microseconds: Airflow's log reader takes equal
    neighbours for a repetition and drops them. The function decided which levels to log; Airflow's own
    level is not applied again.
    """
    logger = structlog.get_logger(f"lambda.{function_name}", __level_override=logging.NOTSET)
    last_ms = microseconds = 0

    def write(line: Line) -> None:
        nonlocal last_ms, microseconds
        microseconds = min(microseconds + 1, 999) if line.timestamp == last_ms else 0
        last_ms = line.timestamp
        moment = datetime.fromtimestamp(line.timestamp // 1000, UTC)
        moment += timedelta(milliseconds=line.timestamp % 1000, microseconds=microseconds)
        timestamp = f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"
        logger.log(line.level, sanitised(line.text), timestamp=timestamp)

    return write
