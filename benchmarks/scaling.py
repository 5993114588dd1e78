"""How workers of Celery follow a burst of tasks: the load of their queue and their number, by time."""

import sys
from collections.abc import Sequence

from benchmarks import lambda_operator
from benchmarks.report import Report
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.stack.base import Stack
from windtunnel.stack.following import follow
from windtunnel.stack.scaling import Bounds, Decision

BOUNDS = Bounds("worker", 1, 4)


def measure(stack: Stack, report: Report) -> None:
    """Start a stack with one worker, give it 100 tasks at once, and let workers come and go again.

    It ends when there is one worker again and nothing to do, some 12 minutes later.
    """
    stack.up()
    client = AirflowClient.of(stack)
    lambda_operator.ended(client, client.trigger("bench-celery-alone"), timeout=60)
    decisions: list[Decision] = []
    run = None
    for decision in follow(stack, BOUNDS, _say):
        _say(str(decision))
        decisions.append(decision)
        point = decision.datapoint
        # The first one with a load shows the worker idle.
        if run is None and point.load is not None:
            run = client.trigger("bench-celery-burst")
        elif decision.before == BOUNDS.lowest and _has_been(decisions) and not point.waiting + point.running:
            break
    if run is not None:
        lambda_operator.ended(client, run, timeout=60)
    loads = [decision.datapoint.load or 0 for decision in decisions]
    report.add("highest load", max(loads), "")
    report.add("most workers", max(decision.after for decision in decisions), "")
    report.add("datapoints with a load above 1", sum(load > 1 for load in loads), "")
    _say(picture(decisions))


def _has_been(decisions: Sequence[Decision]) -> bool:
    """Whether the burst is over."""
    return any(decision.after > BOUNDS.lowest for decision in decisions)


def picture(decisions: Sequence[Decision]) -> str:
    """Return load and number of workers by time as a chart of Mermaid, for a page."""
    begin = decisions[0].datapoint.time
    minutes = [round((decision.datapoint.time - begin).total_seconds() / 60) for decision in decisions]
    loads = [round(decision.datapoint.load or 0, 2) for decision in decisions]
    numbers = [decision.before for decision in decisions]
    return "\n".join(
        [
            "```mermaid",
            "xychart-beta",
            '    title "Load (line) and workers (bars)"',
            f'    x-axis "minutes" {minutes}',
            f'    y-axis "tasks per slot, workers" 0 --> {round(max(*loads, *numbers)) + 1}',
            f"    bar {numbers}",
            f"    line {loads}",
            "```",
        ]
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
