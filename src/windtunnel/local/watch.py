"""The probes of a start."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from windtunnel.stack.service import Service


class Watch:
    """Probes of a start: one at a time for each service, none for a healthy one; nobody waits for an answer.

    A web server's first answer takes seconds, in which others may have to be started.
    """

    def __init__(self, services: int) -> None:
        """Probe nothing yet.

        :param services: how many are probed at the same time at the most.
        """
        self._pool = ThreadPoolExecutor(services)
        self._running: dict[str, Future[Service]] = {}
        self._latest: dict[str, Service] = {}

    def __enter__(self) -> "Watch":
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for no probe."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def know(self, services: Sequence[Service]) -> None:
        """Take what was seen before this start for the latest answers."""
        for service in services:
            self._latest.setdefault(service.label, service)

    def look(self, service: Service, probe: Callable[[], Service]) -> Service:
        """Return the latest answer about this process; without one it is still starting."""
        running = self._running.get(service.label)
        if running and running.done():
            self._latest[service.label] = self._running.pop(service.label).result()
            running = None
        latest = self._latest.get(service.label)
        known = latest if latest and latest.id == service.id else replace(service, health="starting")
        if running is None and known.health != "healthy":
            self._running[service.label] = self._pool.submit(probe)
        return known
