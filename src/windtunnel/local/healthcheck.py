"""Whether a service is healthy: by Windtunnel's own probe, else by the command that the compose file has."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from windtunnel.local.composefile import seconds
from windtunnel.services import probes
from windtunnel.stack.service import Service

# Compose's own default, in seconds.
TIMEOUT = 30.0

# How long a service may be unhealthy after its start if its health check names no `start_period`, in seconds.
START_PERIOD = 60.0

# A health check that begins so needs no process of its own here.
OURS = "python -m windtunnel.services.probes "

# Takes a service's variables and the start of its process, in seconds since the epoch.
Probe = Callable[[Mapping[str, str], float], None]


def probe_of(name: str, service: Mapping[str, Any]) -> Probe | None:
    """Return what probes a service, by its part of the compose file; None if it has no health check."""
    if name in probes.PROBES:
        return probes.PROBES[name]
    check = service.get("healthcheck") or {}
    test = check.get("test")
    if not test or check.get("disable") or test == ["NONE"]:
        return None
    if isinstance(test, str) and (ours := test.removeprefix(OURS)) in probes.PROBES:
        return probes.PROBES[ours]
    kind, *words = ("CMD-SHELL", test) if isinstance(test, str) else test
    command = ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words
    timeout = seconds(check.get("timeout")) or TIMEOUT

    def probe(variables: Mapping[str, str], _: float) -> None:
        try:
            answer = subprocess.run(  # noqa: S603 - the command is the user's own
                command, env=variables, capture_output=True, text=True, timeout=timeout, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise probes.Unhealthy(f"its health check does not run: {error}") from error
        said = (answer.stdout + answer.stderr).strip()
        if answer.returncode == probes.DEFINITE:
            raise probes.Broken(said)
        if answer.returncode:
            raise probes.Unhealthy(said or f"its health check ended with exit code {answer.returncode}")

    return probe


def start_period(service: Mapping[str, Any]) -> float:
    """Return how long a service may be unhealthy after its start, in seconds, by the compose file."""
    return seconds(service.get("healthcheck", {}).get("start_period")) or START_PERIOD


def probed(
    service: Service,
    probe: Probe,
    variables: Callable[[], Mapping[str, str]],
    started: float,
    period: float,
) -> Service:
    """Return a running service with its health.

    :param started: when its process was, in seconds since the epoch.
    :param period: how long it may be unhealthy after that, in seconds.
    """
    now = time.time()
    try:
        probe(variables(), started)
    except Exception as unhealthy:  # whatever it is, in a container it would be an exit code and a text
        definite = isinstance(unhealthy, probes.Broken)
        word = "unhealthy" if definite or now - started > period else "starting"
        said = str(unhealthy)
        return replace(service, health=word, probed_at=str(now), health_output=said, definite=definite)
    return replace(service, health="healthy", probed_at=str(now))


class Watch:
    """Probes of a start: one at a time for each service, none for a healthy one; nobody waits for an answer.

    A web server's first answer takes seconds, in which others may have to be started.
    """

    def __init__(self, services: int) -> None:
        """Probe nothing yet, and later at most that many services at the same time."""
        self._pool = ThreadPoolExecutor(services)
        self._running: dict[str, Future[Service]] = {}
        self._latest: dict[str, Service] = {}

    def close(self) -> None:
        """End without waiting for any probe."""
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
