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
    """Runs containers; a container is known by its folder, and its output is the file ``output`` in there.

    A container outlives the agent: the next one asks `has_begun` and `exit`. Any thread may call.
    """

    def start(self, container: Mapping[str, Any], folder: Path, cpu: int | None) -> None:
        """Start a container, or raise `CannotStart`.

        :param container: its definition, and as ``task`` what its task has: ``cpu``, ``memory``, ``size``.
        :param cpu: the container's own or else the task's, in units of 1/1024 of a processor.
        """

    def has_begun(self, folder: Path) -> bool:
        """Return whether a container was started, by whichever agent; if not, it may be."""

    def exit(self, folder: Path) -> Exit | None:
        """Return how a container has ended; None while it runs."""

    def signal(self, folder: Path, number: int) -> bool:
        """Send a signal to a container; return whether it was there to get it."""

    def hold(self, folder: Path, held: bool) -> None:
        """Make a container stand still, or let it go on."""

    def check(self, container: Mapping[str, Any], folder: Path, command: list[str], timeout: float) -> bool:
        """Run a command in a container; return whether it ended well within ``timeout`` seconds."""

    def memory(self, folder: Path, enough: int) -> int:
        """Return the memory of a container in bytes; below ``enough`` it need not be exact."""

    def remove(self, folder: Path) -> None:
        """Remove a container and its folder; end it, if it runs."""
