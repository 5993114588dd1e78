"""A runner that really forks, and stand-ins for the emulator and for CloudWatch Logs."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from windtunnel.agent.emulator import Unreachable
from windtunnel.agent.processes import Processes
from windtunnel.agent.runtime import CannotStart
from windtunnel.waiting import wait_until

from .cloudwatch import CloudWatch


class StandInEmulator:
    """Keeps the reports of tasks; it may be away, or know nothing of them."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.is_away = False
        self.is_new = False

    def report(self, identifier: str, state: dict[str, Any]) -> bool:
        """Take a report."""
        if self.is_away:
            raise Unreachable("away")
        self.reports.append({"id": identifier, **state})
        return not self.is_new

    @property
    def statuses(self) -> list[str]:
        """The states of all reports, one after the other."""
        found: list[str] = []
        for one in self.reports:
            if found[-1:] != [one["status"]]:
                found.append(one["status"])
        return found

    def wait_for(self, status: str) -> dict[str, Any]:
        """Return the first report of this state."""

        def reported() -> dict[str, Any] | None:
            return next((one for one in list(self.reports) if one["status"] == status), None)

        return wait_until(f"the task to be {status}", reported, timeout=30, interval=0.02)


@pytest.fixture
def emulator() -> StandInEmulator:
    return StandInEmulator()


@pytest.fixture
def cloudwatch() -> CloudWatch:
    return CloudWatch()


class RunnerProcess(Processes):
    """A runner in a process of its own; this process stands for its agent, and hands over orders as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = [sys.executable, str(Path(__file__).with_name("a_runner.py")), str(folder)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "AGENT_NAME": "it",
        }
        self.process = subprocess.Popen(program, env=environment)
        self.agent = 0
        self._ordered = 0
        self.next_agent()

    def next_agent(self) -> None:
        """Wait until there is an agent which is not the last one, and stand for it."""
        note = self.folder / "agent"

        def there() -> list[str] | None:
            found = note.read_text().split() if note.exists() else ["0"]
            return found if int(found[0]) != self.agent else None

        pid, identity = wait_until("an agent", there, timeout=30, interval=0.02)
        self.agent = int(pid)
        super().__init__(socket.socket(), identity, self.process.pid)

    def start(self, container: Any, folder: Path, cpu: int | None) -> None:
        """Have the agent start a container."""
        folder.mkdir(parents=True, exist_ok=True)
        self._ordered += 1
        path = self.folder / f"{self._ordered:03}.new"
        path.write_text(json.dumps({"container": container, "folder": str(folder), "cpu": cpu}))
        path.rename(path.with_suffix(".order"))

        def begun() -> bool:
            if (note := folder / "refused").exists():
                raise CannotStart(note.read_text())
            return self.has_begun(folder)

        wait_until("the container to begin", begun, timeout=30, interval=0.01)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End the runner and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=20)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RunnerProcess]:
    (tmp_path / "orders").mkdir()
    runner = RunnerProcess(tmp_path / "orders")
    yield runner
    if runner.process.poll() is None:
        runner.end()
