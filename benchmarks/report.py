"""What the benchmarks have in common: how figures are printed, and the stack that they are measured on."""

import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from windtunnel.stack import choose
from windtunnel.stack.base import Stack
from windtunnel.stack.settings import ROOT


def p95(values: Sequence[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    return statistics.quantiles(values, n=20, method="inclusive")[18]


class Report:
    """Prints each figure of one part as it comes, and keeps all of them."""

    def __init__(self, part: str) -> None:
        """Start with the machine's description.

        :param part: what is measured, and on which engine: the key of its figures.
        """
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        self.part = part
        self.machine = f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"
        self.figures: dict[str, dict[str, Any]] = {}
        sys.stdout.write(f"{part}, on {self.machine}\n")

    def add(self, name: str, value: float, unit: str, bar: float | None = None) -> None:
        """One figure; ``bar`` is what it should not exceed, None if it only explains another."""
        self.figures[name] = {"value": round(value, 3), "unit": unit, "bar": bar}
        verdict = "" if bar is None else f" at most {bar:g}: {'ok' if value <= bar else 'OVER'}"
        sys.stdout.write(f"{name:<54} {value:9.3f} {unit:<3}{verdict}\n")
        sys.stdout.flush()

    @property
    def over(self) -> bool:
        """Whether a figure is over its bar."""
        return any(
            figure["bar"] is not None and figure["value"] > figure["bar"] for figure in self.figures.values()
        )


@contextmanager
def own_stack(
    dags: Path, lambdas: Path, more: Mapping[str, str] | None = None, *overlays: str
) -> Iterator[Stack]:
    """A project of its own on free ports, not started yet; removed with its volumes at the end.

    Two benchmarks do not meet, nor do two checkouts.

    :param dags: a folder or one file; copied, as a benchmark may add to it.
    :param lambdas: a folder of functions.
    :param more: other settings.
    :param overlays: names of overlays; an empty one is none.
    """
    folder = Path(tempfile.mkdtemp(prefix="windtunnel-bench-"))
    folder.chmod(0o755)
    for file in [dags] if dags.is_file() else dags.glob("*.py"):
        shutil.copy(file, folder)
    settings = {
        "WEBSERVER_PORT": "0",
        "LOCALSTACK_PORT": "0",
        "DAGS_FOLDER": str(folder),
        "LAMBDAS_FOLDER": str(lambdas),
        "WINDTUNNEL_IMAGE": os.environ.get("WINDTUNNEL_IMAGE", ROOT.name),
        **(more or {}),
    }
    project = f"windtunnel-bench-{os.getpid()}"
    stack = choose.choose(project=project, variables=settings, with_=[*filter(None, overlays)]).stack
    try:
        yield stack
    finally:
        stack.down(volumes=True)
        shutil.rmtree(folder)
