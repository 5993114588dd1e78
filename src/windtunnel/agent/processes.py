"""Containers as processes of this environment, started by the runner that is this process's parent."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from windtunnel.agent.process_table import FRESH, Entry, ProcessTable, exact_memory
from windtunnel.agent.runtime import CannotStart, Exit
from windtunnel.waiting import WaitTimeout, wait_until

# What is killed is gone at once, unless the kernel holds it; nobody waits longer for it, in seconds.
KILL_PATIENCE = 10.0

# The agent's own: a container does not see these.
OWN_VARIABLES = ("AGENT_", "ECS_CLUSTER", "TMPDIR", "HOME")

# What a container has unless its definition says otherwise: this environment is its image.
IMAGE_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)}


class Processes:
    """Runs containers as processes, each in a session of its own."""

    def __init__(self, orders: socket.socket, identity: str) -> None:
        """Take the runner's socket for orders, and the name by which this runner is told from earlier ones."""
        self._orders = orders
        self._ordering = threading.Lock()
        self._identity = identity
        self._turn = count()
        self._table = ProcessTable()

    def start(self, container: Mapping[str, Any], folder: Path, cpu: int | None) -> None:
        """Start a container.

        :param folder: its own, which outlives this process.
        :param cpu: what it has of the processors, in units of 1/1024.
        :raises CannotStart: if there is no such program.
        """
        argv = [*container["entry_point"], *container["command"]]
        (folder / "tmp").mkdir(exist_ok=True)
        environment = _environment(container, folder)
        working_directory = container["working_directory"] or os.getcwd()
        if not argv:
            raise CannotStart("CannotStartContainerError: no command specified")
        if not os.path.isdir(working_directory):
            raise CannotStart(
                f"CannotStartContainerError: the working directory {working_directory} is not there"
            )
        # A path with a slash is meant from the container's folder.
        program = os.path.join(working_directory, argv[0]) if "/" in argv[0] else argv[0]
        if not shutil.which(program, path=environment.get("PATH")):
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
            "keeps_output": container["logs"] is not None,
        }
        # Tasks have a thread each, and a long order is sent in pieces.
        with self._ordering:
            self._orders.sendall(json.dumps(order).encode() + b"\n")

    def _cores(self, cpu: int | None) -> list[int]:
        """Return the cores that a container may use: as many whole ones as it has, each container others."""
        cores = sorted(os.sched_getaffinity(0))
        number = -(-cpu // 1024) if cpu else len(cores)
        if number >= len(cores):
            return []
        first = next(self._turn) * number
        return [cores[(first + one) % len(cores)] for one in range(number)]

    def has_begun(self, folder: Path) -> bool:
        """Return whether a container has run or failed to; a process notes this before it does anything."""
        return any((folder / name).exists() for name in ("pid", "status", "error"))

    def exit(self, folder: Path) -> Exit | None:
        """Return how a container has ended; None while it runs or is about to."""
        if (status := folder / "status").exists():
            self._end_rest(folder)
            return Exit(int(status.read_text()))
        if (error := folder / "error").exists():
            return Exit(None, error.read_text())
        if _first(folder) and not self._is_ours(folder):
            # The runner was killed, and the container's first process with it.
            self._end_rest(folder)
            return Exit(128 + signal.SIGKILL, "The agent was killed")
        return None

    def signal(self, folder: Path, number: int) -> bool:
        """Send a signal to the first process of a container; with ``SIGKILL`` all of them end.

        :returns: whether there was one.
        """
        pid = _first(folder)
        if not pid or not self._is_ours(folder) or (folder / "status").exists():
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        return True

    def hold(self, folder: Path, held: bool) -> None:
        """Stand still all processes of a container, or let them go on."""
        for entry in self._members(folder):
            with suppress(ProcessLookupError):
                os.kill(entry.pid, signal.SIGSTOP if held else signal.SIGCONT)

    def check(self, container: Mapping[str, Any], folder: Path, command: list[str], timeout: float) -> bool:
        """Run a command in a container; return whether it ended well within ``timeout`` seconds."""
        try:
            done = subprocess.run(  # noqa: S603 - as the definition says
                command,
                env=_environment(container, folder),
                cwd=container["working_directory"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=timeout,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0

    def memory(self, folder: Path, enough: int) -> int:
        """Return the memory of a container in bytes.

        :param enough: what is below that need not be exact, which costs less.
        """
        entries = self._members(folder, FRESH)
        total = sum(entry.memory for entry in entries)
        # What processes share, as forks do, is counted once.
        return total if total < enough else sum(exact_memory(entry.pid) for entry in entries)

    def remove(self, folder: Path) -> None:
        """Forget a container, and end what may be left of it."""
        self._end_rest(folder)
        shutil.rmtree(folder, ignore_errors=True)

    def _members(self, folder: Path, age: float = 0.0) -> list[Entry]:
        first = _first(folder)
        if not first:
            return []
        if not self._is_ours(folder):
            return self._table.left_behind(folder)
        return self._table.members(first, folder, os.getppid(), age)

    def _is_ours(self, folder: Path) -> bool:
        """Whether the present runner has started a container: process ids of an earlier one mean nothing."""
        return (folder / "pid").read_text().split()[1:] == [self._identity]

    def _end_rest(self, folder: Path) -> None:
        """Kill what the first process of a container has left behind: a container ends with it."""

        def is_alone() -> bool:
            found = self._members(folder)
            for entry in found:
                with suppress(ProcessLookupError):
                    os.kill(entry.pid, signal.SIGKILL)
            return not found

        with suppress(WaitTimeout):
            wait_until("the end of a container", is_alone, timeout=KILL_PATIENCE, interval=0.05)


def _environment(container: Mapping[str, Any], folder: Path) -> dict[str, str]:
    temporary = str(folder / "tmp")
    return {**IMAGE_ENVIRONMENT, "HOME": temporary, "TMPDIR": temporary, **container["environment"]}


def _first(folder: Path) -> int | None:
    """Return the id of the first process of a container, once it is there."""
    try:
        return int((folder / "pid").read_text().split()[0])
    except FileNotFoundError:
        return None
