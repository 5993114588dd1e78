"""Whether a service is healthy: by Windtunnel's own probe, else by the command that the compose file has."""

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from windtunnel.local.composefile import seconds
from windtunnel.services import probes
from windtunnel.stack.service import Service

# Compose's own default, in seconds.
TIMEOUT = 30.0

# How long a service may be unhealthy after its start, in seconds: the compose file's period.
START_PERIOD = 60.0

# Takes a service's variables and when its process was started, in seconds since the epoch.
Probe = Callable[[Mapping[str, str], float], None]


def probe_of(name: str, service: Mapping[str, Any]) -> Probe | None:
    """Return what finds out whether a service is healthy; None if it has no health check.

    :param service: its part of the compose file.
    """
    if name in probes.PROBES:
        return probes.PROBES[name]
    check = service.get("healthcheck") or {}
    test = check.get("test")
    if not test or check.get("disable") or test == ["NONE"]:
        return None
    kind, *words = ["CMD-SHELL", test] if isinstance(test, str) else test
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


def probed(
    service: Service, probe: Probe, variables: Callable[[], Mapping[str, str]], started: float
) -> Service:
    """Return a running service with its health.

    :param variables: returns those of the service.
    :param started: when its process was started, in seconds since the epoch.
    """
    now = time.time()
    try:
        probe(variables(), started)
    except Exception as unhealthy:  # whatever it is, in a container it would be an exit code and a text
        definite = isinstance(unhealthy, probes.Broken)
        word = "unhealthy" if definite or now - started > START_PERIOD else "starting"
        said = str(unhealthy)
        return replace(service, health=word, probed_at=str(now), health_output=said, definite=definite)
    return replace(service, health="healthy", probed_at=str(now))
