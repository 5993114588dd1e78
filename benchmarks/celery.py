"""CeleryExecutor over SQS: the start, the memory of workers, and how many tasks they run in a second."""

import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import lambda_operator
from benchmarks.report import Report
from benchmarks.throughput import spans
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.stack.base import Stack

DAGS = Path(__file__).parent / "dags" / "bench_celery.py"
LAMBDAS = lambda_operator.LAMBDAS
OVERLAY = "celery"
WORKERS = (1, 2, 4)
SLOTS = 4

# Seconds from nothing to ready.
READY = {"compose": 25, "local": 15}
# GB that a stack with so many workers may take more than one without the overlay.
MEMORY_OF = 2
MEMORY = 0.5
# With twice the workers, tasks may take at most so much of the time: 1.8 times as many in a second.
TWICE = 1 / 1.8


def measure_base(stack: Stack) -> float:
    """Return the memory of all services without the overlay, in GB, after one task."""
    stack.up()
    client = AirflowClient.of(stack)
    lambda_operator.ended(client, client.trigger("bench-celery-alone"), timeout=60)
    return sum(stack.memory().values()) / 1e9


def measure(stack: Stack, report: Report, workers: int, base: float) -> float:
    """Start a stack with so many workers; run one task and then all.

    :param base: the memory of a stack without the overlay, in GB.
    :return: the time from the first task's start to the last one's end, in seconds.
    """
    start = time.monotonic()
    stack.up()
    ready = time.monotonic() - start
    client = AirflowClient.of(stack)
    lambda_operator.ended(client, client.trigger("bench-celery-alone"), timeout=60)
    if workers == WORKERS[0]:
        report.add("from nothing to ready, one worker", ready, "s", READY[stack.engine])
    if workers == MEMORY_OF:
        more = sum(stack.memory().values()) / 1e9 - base
        report.add(f"memory with {workers} workers, more than without", more, "GB", MEMORY)
    tasks = lambda_operator.ended(client, client.trigger("bench-celery"), timeout=600)
    took = spans(tasks)
    report.add(f"tasks of 5 s in a second, workers: {workers}", len(tasks) / took, "")
    if workers == MEMORY_OF:
        more = sum(stack.memory().values()) / 1e9 - base
        report.add(f"memory with {workers} workers after 64 tasks, more than without", more, "GB")
    return took


def compare(took: Mapping[int, float], report: Report) -> None:
    """Compare the time of all tasks by the number of workers.

    :param took: that time in seconds.
    """
    one, two, four = (took[workers] for workers in WORKERS)
    report.add("time for all tasks, 2 workers by 1", two / one, "", TWICE)
    report.add("time for all tasks, 4 workers by 2", four / two, "", 1)
