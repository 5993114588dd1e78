"""The processes of the local engine: how one is started, and how all that belongs to a stack are found.

A process belongs to a service when its temporary folder, or the folder that it works in, is that service's.
Both are inherited by everything that a service starts. The functions in LocalStack inherit nothing, but have
their temporary folder below that of the stack. What sets its own title, as Airflow's workers do, writes over
its environment.
"""

import json
import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

# In the folder of a running stack: what each service is, for this module to start it.
SERVICES = "services.json"

# How long killed processes may take to be gone, and the time between two looks at them, in seconds.
PATIENCE = 10.0
POLL = 0.02


def temporary_folder(folder: Path, service: str = "") -> Path:
    """Where a service, or what it starts, keeps temporary files; of all services if none is named.

    :param folder: that of the running stack.
    """
    return folder / "tmp" / service


def processes(folder: Path, service: str = "") -> list[psutil.Process]:
    """What runs of a stack, but for this process.

    :param folder: that of the running stack.
    :param service: only what belongs to this one.
    """
    found = {}
    for process in psutil.process_iter():
        if _belongs(process, folder, service):
            found[process.pid] = process
            with suppress(psutil.Error):
                found |= {child.pid: child for child in process.children(recursive=True)}
    found.pop(os.getpid(), None)
    return list(found.values())


def _belongs(process: psutil.Process, folder: Path, service: str) -> bool:
    own = f"{temporary_folder(folder, service)}{os.sep}"
    # A function's is below the folder that LocalStack takes for its root.
    temporary = own if service else f"{folder}{os.sep}"
    # Errors: it has ended, or is another user's.
    with suppress(psutil.Error):
        if f"{process.environ().get('TMPDIR', '')}{os.sep}".startswith(temporary):
            return True
    with suppress(psutil.Error):
        return f"{process.cwd()}{os.sep}".startswith(own)
    return False


def is_alive(pid: int) -> bool:
    """Whether a process runs. A zombie does not: in a container there may be nobody who reaps it."""
    with suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def end(folder: Path, service: str = "") -> None:
    """Kill what runs of a stack, or of one service, until nothing is left.

    :raises TimeoutError: naming what could not be killed.
    """
    deadline = time.monotonic() + PATIENCE
    # What is killed may just have started another.
    while found := processes(folder, service):
        if time.monotonic() > deadline:
            raise TimeoutError(f"these processes do not end: {', '.join(str(one.pid) for one in found)}")
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(POLL)


def memory(folder: Path, labels: Iterable[str]) -> dict[str, float]:
    """Return the bytes that each process has alone and its share of what it shares (PSS).

    :param folder: that of the running stack.
    :param labels: of processes; what belongs to none of them is supervision.
    """
    left = {process.pid: process for process in processes(folder)}
    found = {}
    for label in labels:
        own = [left.pop(one.pid, None) for one in processes(folder, label)]
        found[label] = _pss(filter(None, own))
    return {label: used for label, used in found.items() if used} | {"supervision": _pss(left.values())}


def _pss(processes: Iterable[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with suppress(psutil.Error):  # it has ended meanwhile
            total += process.memory_full_info().pss
    return total


def main(folder: str, service: str, *_: str) -> None:
    """Become a service, after ending what an earlier process of it has left, as a container's end would have.

    :param folder: that of the running stack.
    :param service: its name. What follows it tells one definition of it from another.
    """
    definition = json.loads((Path(folder) / SERVICES).read_text())[service]
    end(Path(folder), service)
    os.chdir(definition["folder"])
    os.execve(definition["command"][0], definition["command"], definition["environment"])  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
