"""Containers as processes of this environment, started by the runner that is this process's parent."""

import json
import os
import shutil
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from windtunnel.agent.runtime import CannotStart, Exit

# How long a process may take to be forked, in seconds.
PATIENCE = 30.0

# What a container has unless its definition says otherwise: this environment is its image.
IMAGE_ENVIRONMENT = dict(os.environ)


class Processes:
    """Runs containers as processes, each in a session of its own."""

    def __init__(self, orders: socket.socket) -> None:
        """Take the runner's socket for orders."""
        self._orders = orders
        self._turn = count()

    def start(self, container: Mapping[str, Any], folder: Path, cpu: int | None) -> None:
        """Start a container.

        :param folder: its own, which outlives this process.
        :param cpu: what it has of the processors, in units of 1/1024.
        :raises CannotStart: if there is no such program.
        """
        argv = [*container["entry_point"], *container["command"]]
        temporary = folder / "tmp"
        temporary.mkdir(exist_ok=True)
        own = {"HOME": str(temporary), "TMPDIR": str(temporary), **container["environment"]}
        environment = {**IMAGE_ENVIRONMENT, **own}
        working_directory = container["working_directory"] or os.getcwd()
        if not argv:
            raise CannotStart("CannotStartContainerError: no command specified")
        if not os.path.isdir(working_directory):
            raise CannotStart(
                f"CannotStartContainerError: the working directory {working_directory} is not there"
            )
        if not shutil.which(argv[0], path=environment.get("PATH")):
            raise CannotStart(
                "CannotStartContainerError: OCI runtime create failed: runc create failed: unable to start "
                f'container process: exec: "{argv[0]}": executable file not found in $PATH: unknown'
            )
        order = {
            "folder": str(folder),
            "argv": argv,
            "environment": environment,
            "working_directory": working_directory,
            "cores": self._cores(cpu),
        }
        self._orders.sendall(json.dumps(order).encode() + b"\n")

    def _cores(self, cpu: int | None) -> list[int]:
        """Return the cores that a container may use: as many whole ones as it has, each container others."""
        cores = sorted(os.sched_getaffinity(0))
        number = -(-cpu // 1024) if cpu else len(cores)
        if number >= len(cores):
            return []
        first = next(self._turn) * number
        return [cores[(first + one) % len(cores)] for one in range(number)]

    def exit(self, folder: Path) -> Exit | None:
        """Return how a container has ended; None while it runs or is about to."""
        if (status := folder / "status").exists():
            self._end_rest(folder)
            return Exit(int(status.read_text()))
        if (error := folder / "error").exists():
            return Exit(None, error.read_text())
        pid = _pid(folder)
        if pid and not psutil.pid_exists(pid) and not status.exists():
            # The runner was killed, and this process with it: it is a new one that sees this.
            return Exit(128 + signal.SIGKILL, "The agent was killed")
        return None

    def signal(self, folder: Path, number: int) -> None:
        """Send a signal to the first process of a container; with ``SIGKILL`` all of them end."""
        pid = _pid(folder)
        if pid and not (folder / "status").exists():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def memory(self, folder: Path, enough: int) -> int:
        """Return the memory of a container in bytes.

        :param enough: what is below that need not be exact, which costs less.
        """
        processes = members(folder)
        total = sum(_memory(process) for process in processes)
        # What processes share, as forks do, is counted once.
        return total if total < enough else sum(_memory(process, exact=True) for process in processes)

    def remove(self, folder: Path) -> None:
        """Forget a container that has ended."""
        shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def _end_rest(folder: Path) -> None:
        """Kill what the first process of a container has left behind: a container ends with it."""
        while found := members(folder):
            for process in found:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(found, timeout=1)


def members(folder: Path) -> list[psutil.Process]:
    """Return the processes of a container: of its session, or with its temporary folder, and their children."""
    pid, temporary = _pid(folder), f"{folder}{os.sep}"
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if os.getsid(process.pid) == pid or f"{process.environ().get('TMPDIR', '')}{os.sep}".startswith(
                temporary
            ):
                found |= {one.pid: one for one in (process, *process.children(recursive=True))}
    return list(found.values())


def _memory(process: psutil.Process, exact: bool = False) -> int:
    with suppress(psutil.Error):
        return int(process.memory_full_info().pss if exact else process.memory_info().rss)
    return 0


def _pid(folder: Path) -> int | None:
    path = folder / "pid"
    return int(path.read_text()) if path.exists() else None
