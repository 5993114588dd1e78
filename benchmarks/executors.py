"""The same tasks under each executor in turn: how soon one runs once it is queued, how many in a second."""

import statistics
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
