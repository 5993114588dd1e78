"""How many tasks run in a second: calls of a function that returns at once, and where a task's time goes."""

import statistics
from datetime import datetime
from pathlib import Path

from airflow_client.client.models.task_instance_response import TaskInstanceResponse

from benchmarks import lambda_operator
from benchmarks.report import Report
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.stack.base import Stack

DAGS = Path(__file__).parent / "dags" / "bench_mapped.py"
LAMBDAS = lambda_operator.LAMBDAS
SLOTS = 4
# Seconds for each task, at most: four tasks a second.
BAR = 0.25


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


def measure(stack: Stack, report: Report) -> None:
    """Start the stack, run the DAG once to warm it up, and measure the second run.

    A slot's time for a task is all slots' time by the number of tasks. Airflow notes a task's start and end;
    what is left of the slot's time is before its start (a fork, the supervisor) and after its end (the log's
    upload, the scheduler's next look).
    """
    stack.up()
    client = AirflowClient.of(stack)
    lambda_operator.ended(client, client.trigger("bench-mapped"), timeout=600)
    tasks = lambda_operator.ended(client, client.trigger("bench-mapped"), timeout=600)
    each = spans(tasks) / len(tasks)
    slot = each * SLOTS
    running = seconds(tasks, "start_date", "end_date")
    report.add(f"{len(tasks)} mapped calls, {SLOTS} slots: for each task", each, "s", BAR)
    report.add("tasks in a second", 1 / each, "")
    report.add("a slot's time for a task", slot, "s")
    report.add("share of it: the task runs, by Airflow", 100 * running / slot, "%")
    report.add("share of it: before the task's start and after its end", 100 * (1 - running / slot), "%")
    waiting = seconds(tasks, "queued_when", "start_date")
    report.add("from queued to start, mean", waiting, "s")
