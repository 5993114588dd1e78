"""What runs containers: processes of this environment, or Docker."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class CannotStart(Exception):
    """A container cannot be started; the message is the reason as ECS words it."""


@dataclass(frozen=True)
class Exit:
    """How a container has ended."""

    code: int | None
    """Its exit code; None if it never ran."""
    reason: str | None = None


class Runtime(Protocol):
    """Runs containers; a container is known by its folder, and its output is the file ``output`` in there."""

    def start(self, container: Mapping[str, Any], folder: Path, cpu: int | None) -> None:
        """Start a container, or raise `CannotStart`."""

    def exit(self, folder: Path) -> Exit | None:
        """Return how a container has ended; None while it runs."""

    def signal(self, folder: Path, number: int) -> None:
        """Send a signal to a container."""

    def memory(self, folder: Path, enough: int) -> int:
        """Return the memory of a container in bytes; below ``enough`` it need not be exact."""

    def remove(self, folder: Path) -> None:
        """Remove a container that has ended, and its folder."""
