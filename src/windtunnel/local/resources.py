"""What this machine has for a stack of processes, or lacks: Linux, commands, memory, disk, ports."""

import shutil
import sys
from collections.abc import Iterator, Mapping

import psutil

from windtunnel.stack import ports
from windtunnel.stack.base import Say, Stack
from windtunnel.stack.errors import Finding, StackError
from windtunnel.stack.settings import PORTS, Settings

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
            remedy = "Install it; on Debian: apt-get install bash util-linux"
            yield Finding(f"there is no command `{program}`", remedy)


def memory_and_disk(stack: Stack) -> Iterator[Finding]:
    """Yield too little memory, or too little room for the checkout."""
    free = psutil.virtual_memory().available
    running = any(service.state == "running" for service in stack.services())
    if not running and free < LEAST_FREE_MEMORY:
        yield Finding(
            f"{free / GIB:.1f} GiB of memory are free; the stack wants {LEAST_FREE_MEMORY / GIB:.0f}",
            "End other programs, or set PARALLELISM to a smaller number.",
        )
    room = shutil.disk_usage(stack.root).free
    if room < LEAST_ROOM:
        yield Finding(
            f"{room / GIB:.1f} GiB are free at {stack.root}; the stack wants {LEAST_ROOM / GIB:.0f}",
            "Make room: `uv cache clean` empties the cache of packages.",
        )


def chosen_ports(settings: Settings, say: Say) -> dict[str, int]:
    """Return a port for each service: the set one, else the usual one, else any that is free.

    :raises StackError: if a set one is taken.
    """
    found = moved_ports(settings, {})
    for service, known in PORTS.items():
        usual = "" if settings.get(known.setting) else settings.usual_port(service)
        if usual and (by := ports.holder(int(usual))):
            say(f"port {usual} is in use by {by}: {service} takes another")
            usual = ""
        if service not in found:
            found[service] = int(usual or ports.free_port())
    return found


def moved_ports(settings: Settings, before: Mapping[str, int]) -> dict[str, int]:
    """Return the ports that have been set differently since the stack was started.

    :param before: the ports of the running stack.
    :raises StackError: if one of them is taken.
    """
    wanted = {service: int(settings.get(port.setting) or 0) for service, port in PORTS.items()}
    found = {service: port for service, port in wanted.items() if port and port != before.get(service)}
    for service, port in found.items():
        if by := ports.holder(port):
            next_step = f"Set {PORTS[service].setting} to another, or to 0."
            raise StackError(f"port {port} is in use by {by}", next_step=next_step)
    return found
