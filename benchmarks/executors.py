"""The same tasks under each executor in turn: how soon one runs once it is queued, how many in a second.

Under one executor also by the number of slots.
"""

import statistics
from collections.abc import Mapping
from pathlib import Path

from benchmarks import lambda_operator
from benchmarks.report import Report
from benchmarks.throughput import spans
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.stack.base import Stack

DAGS = Path(__file__).parent / "dags" / "bench_executors.py"
LAMBDAS = lambda_operator.LAMBDAS
SLOTS = 4
# How many tasks are run one by one.
ALONE = 10
# What the overlays for executors are, and the stack without one, which comes first.
OVERLAYS = ("", "ecs", "batch", "lambda-executor")
# How much later than under LocalExecutor a task may run, in seconds.
BAR = 2.0

# Whether more slots run more tasks: with this overlay, and so many slots in turn.
SCALED = "ecs"
SCALED_SLOTS = (1, 2, 4)
# How many times as much of a slot's time a task that waits may take with the most slots as with the fewest.
LINEAR = 1.25


def measure(stack: Stack, report: Report, overlay: str, before: float | None) -> float:
    """Start a stack, run all tasks together twice, the second time to be measured, then single ones.

    :param before: the median from queued to start under LocalExecutor, in seconds; None while it is measured.
    :return: that median, of tasks that find a free slot: with many at once it would be the queue's length.
    """
    stack.up()
    client = AirflowClient.of(stack)
    lambda_operator.ended(client, client.trigger("bench-executors"), timeout=600)
    tasks = lambda_operator.ended(client, client.trigger("bench-executors"), timeout=600)
    waits = []
    for _ in range(ALONE):
        (alone,) = lambda_operator.ended(client, client.trigger("bench-executor-alone"), timeout=60)
        if alone.start_date and alone.queued_when:
            waits.append((alone.start_date - alone.queued_when).total_seconds())
    median = statistics.median(waits)
    name = overlay or "LocalExecutor"
    report.add(f"{name}: from queued to start, median of {len(waits)}", median, "s")
    if before is not None:
        report.add(f"{name}: later than LocalExecutor", median - before, "s", BAR)
    report.add(f"{name}: tasks in a second, {SLOTS} slots", len(tasks) / spans(tasks), "")
    return median


def measure_slots(stack: Stack, report: Report, slots: int) -> float:
    """Start a stack with so many slots; run tasks that wait, which need next to no processor, and empty ones.

    :return: a slot's time for a task that waits, in seconds.
    """
    stack.up()
    client = AirflowClient.of(stack)
    lambda_operator.ended(client, client.trigger("bench-executor-alone"), timeout=60)
    waiting = lambda_operator.ended(client, client.trigger("bench-executors-waiting"), timeout=600)
    empty = lambda_operator.ended(client, client.trigger("bench-executors"), timeout=600)
    for what, tasks in (("tasks of 1 s", waiting), ("tasks", empty)):
        report.add(f"{SCALED}: {what} in a second, slots: {slots}", len(tasks) / spans(tasks), "")
    return slots * spans(waiting) / len(waiting)


def compare(each: Mapping[int, float], report: Report) -> None:
    """Compare what a waiting task takes of a slot's time with the most slots and with the fewest.

    :param each: that time in seconds, by the number of slots.
    """
    fewest, most = min(each), max(each)
    name = f"{SCALED}: a slot's time for a task of 1 s, {most} slots by {fewest}"
    report.add(name, each[most] / each[fewest], "", LINEAR)
