"""How many tasks run in a second: calls of a function that returns at once, and where a task's time goes."""

import statistics
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from airflow_client.client.models.task_instance_response import TaskInstanceResponse

from benchmarks import lambda_operator
from benchmarks.report import Report
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.airflow_api.task_log import LogRecord, TaskLog
from windtunnel.stack.base import Stack

DAGS = Path(__file__).parent / "dags" / "bench_mapped.py"
LAMBDAS = lambda_operator.LAMBDAS
SLOTS = 4
# Seconds for each task, at most: four tasks a second.
BAR = 0.25

# Of so many tasks the log of one is read.
SAMPLED = 10

# The stages of a task that Airflow calls running, by the records of its log that end them.
STAGES: dict[str, Callable[[LogRecord], bool]] = {
    "its process starts and reads the DAG file": lambda record: (
        record.message == "Worker startup parse complete"
    ),
    "hooks and clients are made": lambda record: record.message.startswith("Invoking "),
    "the call, and its lines": lambda record: record.logger.startswith("lambda."),
}
LAST_STAGE = "XCom, listeners, its end is noted"


def seconds(tasks: list[TaskInstanceResponse], begin: str, end: str) -> float:
    """Return the mean time between two of Airflow's moments of a task: ``queued_when``, ``end_date``."""
    moments = [(getattr(task, begin), getattr(task, end)) for task in tasks]
    spent: list[float] = [(after - before).total_seconds() for before, after in moments if before and after]
    return statistics.mean(spent)


def spans(tasks: list[TaskInstanceResponse]) -> float:
    """Return the time from the first task's start to the last one's end, in seconds."""
    starts: list[datetime] = [task.start_date for task in tasks if task.start_date]
    ends: list[datetime] = [task.end_date for task in tasks if task.end_date]
    return (max(ends) - min(starts)).total_seconds()


def stages(task: TaskInstanceResponse, log: TaskLog) -> dict[str, float]:
    """Return how long each stage of a running task took, in seconds.

    :raises ValueError: if it has not ended, or its log has no record of a stage.
    """
    if not (task.start_date and task.end_date):
        raise ValueError(f"task {task.map_index} has not ended")
    found: dict[str, float] = {}
    before: datetime = task.start_date
    for name, ends in STAGES.items():
        times = [record.time for record in log.records if record.time and ends(record)]
        if not times:
            raise ValueError(f"the log of task {task.map_index} does not say: {name}")
        found[name] = (times[-1] - before).total_seconds()
        before = times[-1]
    return found | {LAST_STAGE: (task.end_date - before).total_seconds()}


def measure(stack: Stack, report: Report) -> None:
    """Start the stack, run the DAG once to warm it up, and measure the second run.

    A slot's time for a task is all slots' time by the number of tasks. Airflow notes a task's start and end;
    what is left of the slot's time is before its start (a fork, the supervisor) and after its end (the
    log's upload, the scheduler's next look). The rest is divided by the times of records in some tasks' logs.
    """
    stack.up()
    client = AirflowClient.of(stack)
    lambda_operator.ended(client, client.trigger("bench-mapped"), timeout=600)
    run = client.trigger("bench-mapped")
    tasks = lambda_operator.ended(client, run, timeout=600)
    each = spans(tasks) / len(tasks)
    slot = each * SLOTS
    running = seconds(tasks, "start_date", "end_date")
    report.add(f"{len(tasks)} mapped calls, {SLOTS} slots: for each task", each, "s", BAR)
    report.add("tasks in a second", 1 / each, "")
    report.add("a slot's time for a task", slot, "s")
    sampled = [
        stages(task, client.task_log(run, "invoke", map_index=task.map_index)) for task in tasks[::SAMPLED]
    ]
    report.add("share of it: before the task's start and after its end", 100 * (1 - running / slot), "%")
    for name in (*STAGES, LAST_STAGE):
        spent = statistics.mean(found[name] for found in sampled)
        report.add(f"share of it: {name}", 100 * spent / slot, "%")
    waiting = seconds(tasks, "queued_when", "start_date")
    report.add("from queued to start, mean", waiting, "s")
