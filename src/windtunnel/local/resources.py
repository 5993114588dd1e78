"""What this machine lacks for a stack of processes: Linux, commands, memory, disk."""

import shutil
import sys
from collections.abc import Iterator

import psutil

from windtunnel.stack.base import Stack
from windtunnel.stack.errors import Finding

GIB = 1024**3

# The services and the tasks of a DAG; venvs, data and logs. In bytes.
LEAST_FREE_MEMORY = 2 * GIB
LEAST_ROOM = 2 * GIB


def programs() -> Iterator[Finding]:
    """Yield what every start needs and this machine does not have."""
    if sys.platform != "linux":
        yield Finding(f"the local engine runs on Linux, and this is {sys.platform}", "Use --engine compose.")
    for program in ("bash", "setpriv"):
        if not shutil.which(program):
            yield Finding(
                f"there is no command `{program}`", "Install it; on Debian: apt-get install bash util-linux"
            )


def memory_and_disk(stack: Stack) -> Iterator[Finding]:
    """Yield too little memory, or too little room for the checkout."""
    free = psutil.virtual_memory().available
    running = any(service.state == "running" for service in stack.services())
    if not running and free < LEAST_FREE_MEMORY:
        yield Finding(
            f"{free / GIB:.1f} GiB of memory are free; the stack wants {LEAST_FREE_MEMORY / GIB:.0f}",
            "End other programs, or lower parallelism in airflow.cfg.",
        )
    room = shutil.disk_usage(stack.root).free
    if room < LEAST_ROOM:
        yield Finding(
            f"{room / GIB:.1f} GiB are free at {stack.root}; the stack wants {LEAST_ROOM / GIB:.0f}",
            "Make room: `uv cache clean` empties the cache of packages.",
        )
