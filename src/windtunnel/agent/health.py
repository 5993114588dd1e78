"""Health checks of containers, as Docker makes them.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

UNKNOWN = "UNKNOWN"
HEALTHY = "HEALTHY"
UNHEALTHY = "UNHEALTHY"

# What a definition does not say, in seconds and times.
DEFAULTS = {"interval": 30, "timeout": 5, "retries": 3, "startPeriod": 0}


class Health:
    """The health of one container; a thread looks after it until `end`."""

    def __init__(self, check: Mapping[str, Any], run: Callable[[list[str], float], bool]) -> None:
        """Take what the definition says.

        :param check: ``healthCheck`` of a container definition.
        :param run: runs a command in the container for so many seconds; returns whether it ended well.
        """
        self.status = UNKNOWN
        self._command = command_of(check)
        self._settings = {name: check.get(name) or default for name, default in DEFAULTS.items()}
        self._run = run
        self._ended = threading.Event()

    def begin(self) -> None:
        """Look from now on; the first time when one interval has passed."""
        if self._command:
            threading.Thread(target=self._watch, name="health", daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def _watch(self) -> None:
        failures = 0
        tolerant_until = time.monotonic() + self._settings["startPeriod"]
        while not self._ended.wait(self._settings["interval"]):
            if self._run(self._command, self._settings["timeout"]):
                failures = 0
                self.status = HEALTHY
            elif self.status == HEALTHY or time.monotonic() > tolerant_until:
                failures += 1
                if failures >= self._settings["retries"]:
                    self.status = UNHEALTHY


def command_of(check: Mapping[str, Any]) -> list[str]:
    """Return the command of a health check; none for ``NONE``."""
    kind, *command = check["command"]
    if kind == "CMD-SHELL":
        return ["/bin/sh", "-c", *command]
    return command if kind == "CMD" else []
