"""The processes of the local engine: how one is started, and how all that belongs to a stack are found.

A process belongs to a service if its temporary folder or its working folder is the service's: everything that
a service starts inherits both. The functions in LocalStack inherit neither, but have their temporary folder
below the stack's. A process that sets its own title, as Airflow's workers do, writes over its environment.
"""

import json
import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

# The file in the folder of a running stack that says what each service is, for this module to start it.
SERVICES = "services.json"

# How long killed processes may take to end, and the time between two looks at them, in seconds.
PATIENCE = 10.0
POLL = 0.02


def temporary_folder(folder: Path, service: str = "") -> Path:
    """Return the folder of a running stack for temporary files of a service, or of all if none is named."""
    return folder / "tmp" / service


def processes(folder: Path, service: str = "") -> list[psutil.Process]:
    """Return the processes of a running stack, or of one of its services, except this process.

    :param folder: the stack's.
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
    """Kill the processes of a stack, or of one service, until none is left.

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

    :param folder: the running stack's.
    :param labels: the names of processes; what belongs to none of them is supervision.
    """
    left = {process.pid: process for process in processes(folder)}
    found = {}
    for label in labels:
        own = [left.pop(one.pid) for one in processes(folder, label) if one.pid in left]
        found[label] = _pss(own)
    return {label: used for label, used in found.items() if used} | {"supervision": _pss(left.values())}


def _pss(processes: Iterable[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with suppress(psutil.Error):  # it has ended meanwhile
            total += process.memory_full_info().pss
    return total


def main(folder: str, service: str, *_: str) -> None:
    """Become a service of a running stack, once what an earlier process of it has left is ended.

    What follows its name tells one definition of it from another.
    """
    definition = json.loads((Path(folder) / SERVICES).read_text())[service]
    end(Path(folder), service)
    os.chdir(definition["folder"])
    os.execve(definition["command"][0], definition["command"], definition["environment"])  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
