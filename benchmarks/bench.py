"""Measures what the README claims, each part on a stack of its own, and prints it beside the bars.

Run by ``./windtunnel bench``. Nothing here is a test: a slow machine shows slow figures.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks import celery, executors, harness, lambda_operator, scaling, stack, throughput
from benchmarks.report import Report, own_stack
from windtunnel.stack import choose
from windtunnel.stack.settings import ROOT

PARTS = ("stack", "operator", "throughput", "executors", "celery", "scaling", "harness")
# The name of a part that was measured on the local engine.
ON_LOCAL = "{}, local engine"
RESULTS = Path(__file__).parent / "results.json"


def measured(part: str, times: int, cycles: int) -> Report:
    """Measure one part, on the engine that is chosen."""
    report = Report(part if choose.choose().stack.engine == "compose" else ON_LOCAL.format(part))
    if part == "stack":
        with own_stack(stack.DAGS, stack.LAMBDAS) as running:
            stack.measure(running, report, times, cycles)
    elif part == "operator":
        slots = {"PARALLELISM": str(lambda_operator.SLOTS)}
        with own_stack(lambda_operator.DAGS, lambda_operator.LAMBDAS, slots) as running:
            lambda_operator.measure(running, report)
    elif part == "throughput":
        slots = {"PARALLELISM": str(throughput.SLOTS)}
        with own_stack(throughput.DAGS, throughput.LAMBDAS, slots) as running:
            throughput.measure(running, report)
    elif part == "executors":
        measure_executors(report)
    elif part == "celery":
        measure_celery(report)
    elif part == "scaling":
        slots = {"WORKER_CONCURRENCY": str(celery.SLOTS)}
        with own_stack(celery.DAGS, celery.LAMBDAS, slots, celery.OVERLAY) as running:
            scaling.measure(running, report)
    else:
        with own_stack(harness.DAGS, harness.LAMBDAS) as running:
            harness.measure(running, report)
        harness.measure_sessions(running, report)
    return report


def measure_executors(report: Report) -> None:
    """Measure each executor with the same number of slots, and one of them with several numbers."""
    before = None
    for overlay in executors.OVERLAYS:
        slots = {"PARALLELISM": str(executors.SLOTS)}
        with own_stack(executors.DAGS, executors.LAMBDAS, slots, overlay) as running:
            median = executors.measure(running, report, overlay, before)
        before = median if before is None else before
    each = {}
    for count in executors.SCALED_SLOTS:
        slots = {"PARALLELISM": str(count)}
        with own_stack(executors.DAGS, executors.LAMBDAS, slots, executors.SCALED) as running:
            each[count] = executors.measure_slots(running, report, count)
    executors.compare(each, report)


def measure_celery(report: Report) -> None:
    """Measure a stack without workers, and with several numbers of them."""
    with own_stack(celery.DAGS, celery.LAMBDAS) as running:
        base = celery.measure_base(running)
    took = {}
    for workers in celery.WORKERS:
        more = {"WINDTUNNEL_SCALE": f"worker={workers}", "WORKER_CONCURRENCY": str(celery.SLOTS)}
        with own_stack(celery.DAGS, celery.LAMBDAS, more, celery.OVERLAY) as running:
            took[workers] = celery.measure(running, report, workers, base)
    celery.compare(took, report)


def save(report: Report) -> None:
    """Write a part's figures in place of its last ones; those of the other parts stay."""
    results = json.loads(RESULTS.read_text())
    results[report.part] = {"machine": report.machine, "figures": report.figures}
    names = [name for part in PARTS for name in (part, ON_LOCAL.format(part))]
    kept = {name: results[name] for name in names if name in results}
    RESULTS.write_text(json.dumps(kept, indent=2) + "\n")


def main() -> None:
    """Run the benchmarks; exit 1 when a figure is over its bar."""
    parser = argparse.ArgumentParser(prog="./windtunnel bench --", description=__doc__)
    parser.add_argument("part", nargs="?", choices=PARTS, help="what to measure (default all)")
    parser.add_argument(
        "--times", type=int, default=3, help="stack: how often to start from nothing (default 3)"
    )
    parser.add_argument(
        "--cycles", type=int, default=0, help="stack: how many up/down cycles besides (default none)"
    )
    parser.add_argument(
        "--save", action="store_true", help=f"write the figures to {RESULTS.relative_to(ROOT)}"
    )
    options = parser.parse_args()

    over = False
    for part in [options.part] if options.part else PARTS:
        report = measured(part, options.times, options.cycles)
        over |= report.over
        if options.save:
            save(report)
    if over:
        sys.exit(1)


if __name__ == "__main__":
    main()
