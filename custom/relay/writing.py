"""Makes the lines of a function fit for a task log, and writes them into it."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

# A line longer than this is cut: the log page lays out a line at once, and one of 1 MB stalls the browser.
MAX_LINE_CHARS = 65_536

# Terminal sequences: CSI (colours, cursor), OSC (titles, links) and the two-character ones.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\r\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
# Control characters but tab and line feed, and the two separators that browsers break lines at.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
# Airflow's log page folds lines between these; text from a function must not fold the page.
_GROUP_MARKER = re.compile(r"::(?=(?:end)?group::)")


@dataclass(frozen=True)
class Line:
    """One line for the task log: level of ``logging``, text, milliseconds since the epoch."""

    level: int
    text: str
    timestamp: int


def sanitised(text: str) -> str:
    """Return a function's text, which is not ours to trust, made fit for a task log.

    Terminal sequences are removed, control characters shown as escapes, line ends made ``\\n``, Airflow's
    group markers broken, and long lines cut with a note.
    """
    note = ""
    if len(text) > MAX_LINE_CHARS:
        note = f" … [cut: {len(text) - MAX_LINE_CHARS:,} more characters in the log stream]"
        text = text[:MAX_LINE_CHARS]
    text = _ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    text = _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)
    text = _GROUP_MARKER.sub(": :", text)
    return text.encode("utf-8", errors="replace").decode() + note


def task_log_writer(function_name: str) -> Callable[[Line], None]:
    """Return what writes lines into the log of the running task, under the logger ``lambda.<function>``.

    The records carry the function's time: Airflow adds one only to records without. Lines of the same
    millisecond differ in their microseconds, as Airflow's log reader drops equal neighbours. The function
    decided which levels to log; Airflow's own level is not applied again.
    """
    logger = structlog.get_logger(f"lambda.{function_name}", __level_override=logging.NOTSET)
    last_ms = microseconds = 0

    def write(line: Line) -> None:
        nonlocal last_ms, microseconds
        microseconds = min(microseconds + 1, 999) if line.timestamp == last_ms else 0
        last_ms = line.timestamp
        moment = datetime.fromtimestamp(line.timestamp // 1000, UTC)
        moment += timedelta(milliseconds=line.timestamp % 1000, microseconds=microseconds)
        logger.log(line.level, sanitised(line.text), timestamp=f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z")

    return write
