"""What ECS and Batch have in common for a person: whose containers these are, and how they ended."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# A name, a state in a word, and what else a person has to know.
type Row = tuple[str, str, str]

# What describes a container in an answer of ECS or Batch.
type Container = Mapping[str, Any]

# How many of those at work, and of those that have failed, are listed of each cluster and queue.
AT_WORK, FAILED = 10, 5

# How many of the latest tasks or jobs of a cluster or queue are in the failure bundle.
LATEST = 100

# Below the row of their cluster or queue.
INDENT = "  "


@dataclass(frozen=True)
class Stream:
    """Where the output of a container is."""

    group: str
    name: str


def airflow_task(command: Iterable[str]) -> str:
    """Return the task of Airflow that a command runs: ``dag.task[3], try 1``; empty if it runs none.

    The executors hand a task over as JSON, which is one of the arguments.
    """
    for argument in command:
        with suppress(ValueError, KeyError, TypeError):
            task = json.loads(argument)["ti"]
            index = f"[{task['map_index']}]" if task.get("map_index", -1) >= 0 else ""
            return f"{task['dag_id']}.{task['task_id']}{index}, try {task['try_number']}"
    return ""


def clock(time: datetime) -> str:
    """Return a time of today as ``18:05``, another one with its date, as this machine's clock has it."""
    local = time.astimezone()
    return f"{local:%H:%M}" if local.date() == datetime.now(UTC).astimezone().date() else f"{local:%F %H:%M}"


def outcome(reason: str, containers: Iterable[Container]) -> str:
    """Return how a set of containers ended: the reason, then the code and the reason of each that failed."""
    found = list(containers)
    parts = [reason]
    for one in found:
        if code := one.get("exitCode"):
            parts.append(f"exit code {code} of {one['name']}" if len(found) > 1 else f"exit code {code}")
        parts.append(one.get("reason", ""))
    return ", ".join(dict.fromkeys(filter(None, parts)))


def note(*parts: str) -> str:
    """Return what a row says, without what there is not."""
    return ": ".join(filter(None, parts))


def more(shown: int, there: int) -> list[Row]:
    """Return a row that says how many are not listed, if there are any."""
    return [(f"{INDENT}and {there - shown:,} more", "", "")] if there > shown else []
