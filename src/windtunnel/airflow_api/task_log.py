"""A task's log, as the API answers it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

# How many of the last lines of a failed task's log are named.
TELLING_LINES = 10

# The lines between which a task log says where it was read from.
SOURCES_BEGIN = "::group::Log message source details"
SOURCES_END = "::endgroup::"


@dataclass(frozen=True)
class LogRecord:
    """One record of a task log."""

    # None if it is no log record: a line that a crashing process printed, for example.
    time: datetime | None
    level: str
    message: str
    logger: str
    # Whatever else the record carries: exceptions are under "error_detail".
    fields: dict[str, Any] = field(default_factory=dict, compare=False)

    def lines(self) -> list[str]:
        """Return the message and, as Python would print them, the exceptions that it carries."""
        lines = self.message.splitlines()
        for number, error in enumerate(reversed(self.fields.get("error_detail") or [])):
            if number:
                lines.append("During handling of the above exception, another exception occurred:")
            lines.append("Traceback (most recent call last):")
            for frame in error.get("frames") or []:
                place = f'"{frame.get("filename")}", line {frame.get("lineno")}, in {frame.get("name")}'
                lines.append(f"  File {place}")
            lines.append(f"{error.get('exc_type')}: {error.get('exc_value')}")
        return lines


@dataclass(frozen=True)
class TaskLog:
    """A task's log, and the places that the server says it was read from."""

    records: list[LogRecord]
    sources: list[str]

    def telling_lines(self) -> list[str]:
        """Return the last lines that say why a task failed."""
        lines = [line for record in self.records for line in record.lines()]
        # Without the lines that fold others on the web page, and without the frames of installed packages.
        lines = [line for line in lines if not line.startswith(("::group::", "::endgroup::"))]
        return [line for line in lines if "/site-packages/" not in line][-TELLING_LINES:]


def read_task_log(content: list[dict[str, Any]]) -> TaskLog:
    """Return a log of the API's records; those that say where it was read from become its sources."""
    sources: list[str] = []
    events = [entry["event"] for entry in content]
    if SOURCES_BEGIN in events:
        begin = events.index(SOURCES_BEGIN)
        end = events.index(SOURCES_END, begin)
        sources = events[begin + 1 : end]
        content = content[:begin] + content[end + 1 :]
    return TaskLog([_record(dict(entry)) for entry in content], sources)


def _record(entry: dict[str, Any]) -> LogRecord:
    time, level = entry.pop("timestamp", None), entry.pop("level", "info")
    message, logger = entry.pop("event"), entry.pop("logger", "")
    return LogRecord(datetime.fromisoformat(time) if time else None, level, message, logger, entry)
