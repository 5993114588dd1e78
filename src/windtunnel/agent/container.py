"""One container of a task: started, watched, bounded, stopped."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from windtunnel.agent.health import UNKNOWN, Health
from windtunnel.agent.output import Output
from windtunnel.agent.runtime import CannotStart, Exit, Runtime

MIB = 1 << 20

# A container whose output CloudWatch does not take fast enough stands still, as with a blocking log driver,
# from so many bytes on; and it goes on below half of them.
MOST_BACKLOG = 16 * MIB

# How ECS words it (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html).
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"


class Container:
    """A container of a task."""

    def __init__(
        self, definition: Mapping[str, Any], folder: Path, runtime: Runtime, output: Output | None
    ) -> None:
        """Begin with one that has not started.

        :param definition: as the emulator orders it.
        :param folder: its own, which outlives this process.
        """
        self.definition = definition
        self.folder = folder
        self.output = output
        self.exit: Exit | None = None
        self.started: float | None = None
        self._runtime = runtime
        self._killed_at: float | None = None
        self._held = False
        self._health = (
            Health(definition["health_check"], self._check) if definition.get("health_check") else None
        )

    @property
    def name(self) -> str:
        """Its name in the task."""
        return str(self.definition["name"])

    @property
    def is_running(self) -> bool:
        """Whether it has begun and not ended."""
        return self.started is not None and self.exit is None

    @property
    def is_out_of_memory(self) -> bool:
        """Whether it was killed for its memory."""
        return (self.folder / "out-of-memory").exists()

    @property
    def health(self) -> str:
        """``HEALTHY``, ``UNHEALTHY`` or ``UNKNOWN``."""
        return self._health.status if self._health else UNKNOWN

    def start(self, cpu: int | None, variables: Mapping[str, str]) -> None:
        """Start it; if that fails it has ended with the reason.

        :param cpu: of the task, in units of 1/1024 of a processor.
        :param variables: what it gets beside the definition's environment.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.output:
                self.output.open()
            (self.folder / "started").write_text(str(time.time()))
            environment = {**variables, **self.definition["environment"]}
            definition = {**self.definition, "environment": environment}
            self._runtime.start(definition, self.folder, self.definition["cpu"] or cpu)
        except (CannotStart, OSError) as error:
            message = str(error) if isinstance(error, CannotStart) else f"CannotStartContainerError: {error}"
            self.exit = Exit(None, message)
            return
        self._watch()

    def resume(self) -> None:
        """Take it up as an earlier agent has left it; one that has not begun may be started."""
        if (note := self.folder / "started").exists() and self._runtime.has_begun(self.folder):
            self.started = float(note.read_text())
            self._watch()

    def _watch(self) -> None:
        self.started = self.started or time.time()
        if self.output:
            self.output.begin()
        if self._health:
            self._health.begin()

    def _check(self, command: list[str], timeout: float) -> bool:
        return self._runtime.check(self.definition, self.folder, command, timeout)

    def look(self) -> None:
        """See whether it has ended."""
        if not self.is_running:
            return
        self._hold_back()
        found = self._runtime.exit(self.folder)
        if not found:
            return
        if self._health:
            self._health.end()
        if found.code is None:
            self.started = None
        self.exit = Exit(found.code, OUT_OF_MEMORY) if self.is_out_of_memory else found

    def _hold_back(self) -> None:
        if not self.output or self._killed_at is not None:
            return
        backlog = self.output.backlog
        if (self._held and backlog < MOST_BACKLOG // 2) or (not self._held and backlog > MOST_BACKLOG):
            self._held = not self._held
            self._runtime.hold(self.folder, self._held)

    def memory(self, limit: int | None) -> int:
        """Return its memory in bytes; kill it if it has more than its own limit.

        :param limit: of the whole task in bytes; well below it nobody needs to know exactly.
        """
        own = self.definition["memory"] and self.definition["memory"] * MIB
        bound = min([one for one in (own, limit) if one], default=0)
        if not bound or not self.is_running:
            return 0
        used = self._runtime.memory(self.folder, bound)
        if own and used > own:
            self.kill_for_memory()
        return used

    def kill_for_memory(self) -> None:
        """Kill it because the task has too little memory for it."""
        (self.folder / "out-of-memory").touch()
        self._runtime.signal(self.folder, signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end; kill it when it has had its time."""
        now = time.monotonic()
        if self._killed_at is None:
            if self._held:
                self._runtime.hold(self.folder, False)
            if self._runtime.signal(self.folder, signal.SIGTERM):
                self._killed_at = now + self.definition["stop_timeout"]
        elif now > self._killed_at:
            self._runtime.signal(self.folder, signal.SIGKILL)

    def remove(self) -> None:
        """Leave nothing of it."""
        if self._health:
            self._health.end()
        self._runtime.remove(self.folder)

    def described(self) -> dict[str, Any]:
        """Return its state for a report."""
        status = "STOPPED" if self.exit else "RUNNING" if self.is_running else "PENDING"
        answer: dict[str, Any] = {"status": status, "id": f"{self.folder.parent.name}-{self.name}"}
        if self.exit:
            answer |= {"exit_code": self.exit.code, "reason": self.exit.reason}
        if self._health:
            answer["health"] = self.health
        return {name: value for name, value in answer.items() if value is not None}


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else can read, as a whole or not at all."""
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
