"""One start of a stack, watched until every service is ready or one of them cannot become so."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from windtunnel.stack.errors import StackError

if TYPE_CHECKING:
    from windtunnel.stack.base import Stack
    from windtunnel.stack.service import Service

# How long a start may take at the most, in seconds.
START_TIMEOUT = 180.0

# The time between two looks at a starting stack, in seconds: a look costs about 0.05 s of one core.
POLL = 0.3


@dataclass(frozen=True)
class Progress:
    """How far an engine is with starting services."""

    done: bool = False  # everything is started; the rest is up to the services
    error: StackError | None = None  # why it cannot go on


# Takes the services as they were seen last, and goes on with the start.
Advance = Callable[[Sequence["Service"]], Progress]


class Start:
    """What a start has seen so far."""

    def __init__(self, stack: "Stack", on_line: Callable[[str], None], timeout: float) -> None:
        """Look at the stack as it is before the start; the parameters are those of ``Stack.up``."""
        self._stack = stack
        self._on_line = on_line
        self._timeout = timeout
        self._began = time.monotonic()
        self._before = self._services = stack.services()
        self._shown = {service.label: service.progress for service in self._before}

    def watch(self, advance: Advance) -> None:
        """Go on until every service is ready.

        :raises ServiceFailed: if one service cannot become ready and no other is left to be started.
        :raises StackError: if the engine cannot go on.
        """
        while not self._look(advance):
            time.sleep(POLL)

    def _look(self, advance: Advance) -> bool:
        # Asked before the services: what they say afterwards is then the outcome.
        progress = advance(self._services)
        self._services = self._stack.services()
        changed = self._services if progress.error else list(self._changed(ended=progress.done))
        self._show(changed)
        if progress.done and all(service.ready for service in self._services):
            return True
        failed = next((service for service in changed if service.failed), None)
        # Services that do not depend on the failed one are to run all the same.
        if failed and (progress.done or progress.error or not self._is_any_left_without(failed.name)):
            raise self._stack.failure(failed, failed.failed)
        if progress.error:
            raise progress.error
        if time.monotonic() - self._began > self._timeout:
            late = next(service for service in self._services if not service.ready)
            reason = late.health_output or late.summary
            raise self._stack.failure(late, f"is not ready after {self._timeout:g} s: {reason}")
        return False

    def _changed(self, *, ended: bool) -> Iterator["Service"]:
        """Yield services whose state says something about this start, not about what was before.

        :param ended: the engine has done its part. Until then, it is about to replace what it stops.
        """
        old = {(service.id, service.started_at): service for service in self._before}
        for service in self._services:
            was = old.get((service.id, service.started_at))
            replaced = was is not None and not ended and service.state != "running"
            if was != service and not replaced:
                yield service

    def _show(self, services: Iterable["Service"]) -> None:
        for service in services:
            if service.state != "created" and self._shown.get(service.label) != service.progress:
                self._shown[service.label] = service.progress
                seconds = time.monotonic() - self._began
                self._on_line(f"{service.label:<14} {service.progress:<10} {seconds:5.1f} s")

    def _is_any_left_without(self, failed: str) -> bool:
        """Whether a service that does not depend on the failed one is still to be started."""
        return any(
            service.state in ("absent", "created") and failed not in self._stack.dependencies(service.name)
            for service in self._services
        )
