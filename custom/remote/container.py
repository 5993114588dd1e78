"""What a service of a compose file is as a container of ECS.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
"""

import math
import re
import shlex
from collections.abc import Collection, Mapping
from typing import Any

from custom.remote import sizes
from custom.remote.errors import RemoteError

# What is read of a service. `environment` is the operator's to split.
READ = {
    "command", "cpus", "deploy", "entrypoint", "environment", "healthcheck", "image", "mem_limit",
    "stop_grace_period", "user", "working_dir",
}  # fmt: skip

# Seconds, the least and the most that ECS takes.
_BOUNDS = {"interval": (5, 300), "timeout": (2, 60), "start_period": (0, 300)}
_NAMES = {"interval": "interval", "timeout": "timeout", "start_period": "startPeriod"}

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|us|m|s))+")


def passed_over(service: Mapping[str, Any]) -> Collection[str]:
    """Return the keys of a service that a task of ECS does not have from it."""
    return sorted(key for key in service.keys() - READ if not key.startswith("x-"))


def container(name: str, service: Mapping[str, Any]) -> dict[str, Any]:
    """Return a service as a container, without environment, secrets and log.

    :raises RemoteError: for what ECS cannot take.
    """
    if not service.get("image"):
        raise RemoteError(
            "The service has no image: ECS builds nothing, so push what is built, and name it as image"
        )
    found = {
        "name": name,
        "image": service["image"],
        "essential": True,
        "entryPoint": words(service.get("entrypoint")),
        "command": words(service.get("command")),
        "workingDirectory": service.get("working_dir"),
        "user": service.get("user") and str(service["user"]),
        "healthCheck": _health_check(service.get("healthcheck")),
        "stopTimeout": math.ceil(seconds(service["stop_grace_period"]))
        if "stop_grace_period" in service
        else None,
    }
    return {key: value for key, value in found.items() if value}


def words(command: Any) -> list[str]:
    """Return a command, a text or a list, as a list; empty for none."""
    return shlex.split(command) if isinstance(command, str) else [_text(word) for word in command or ()]


def variables(environment: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return an environment as ECS has it."""
    return [{"name": name, "value": _text(value)} for name, value in sorted(environment.items())]


def size(service: Mapping[str, Any]) -> tuple[int, int]:
    """Return cpu units and MiB: the smallest size of Fargate that holds the limits of a service.

    :raises RemoteError: if there is none, or a limit is none.
    """
    limits = ((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    cpus = service.get("cpus", limits.get("cpus", 0))
    memory = service.get("mem_limit", limits.get("memory", 0))
    try:
        units = float(cpus) * 1024
    except (TypeError, ValueError):
        raise RemoteError(f"cpus {cpus!r:.50} is no number of processors, such as 0.5") from None
    return sizes.smallest(units, octets(memory) / (1 << 20))


def octets(text: str | int) -> float:
    """Return a size as Compose writes it in bytes: ``512m``, ``1.5gb``, or a number.

    :raises RemoteError: for another text.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([bkmg]?)b?", str(text).strip().lower())
    if not match:
        raise RemoteError(f"memory {text!r:.50} is no size, such as 512m or 2g")
    return float(match[1]) * _UNITS[match[2]]


def seconds(text: str) -> float:
    """Return a duration as Compose writes it: ``1m30s``.

    :raises RemoteError: for another text.
    """
    if not _DURATION.fullmatch(str(text)):
        raise RemoteError(f"{text!r:.50} is no duration, such as 90s or 1m30s")
    return sum(
        float(number) * _SECONDS[unit] for number, unit in re.findall(r"([\d.]+)(h|ms|us|m|s)", str(text))
    )


def _health_check(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    test = (given or {}).get("test")
    if not given or not test or given.get("disable") or test in ("NONE", ["NONE"]):
        return None
    found: dict[str, Any] = {"command": ["CMD-SHELL", test] if isinstance(test, str) else words(test)}
    if "retries" in given:
        found["retries"] = int(given["retries"])
    for key, (least, most) in _BOUNDS.items():
        if key in given:
            wanted = math.ceil(seconds(given[key]))
            if wanted > most:
                raise RemoteError(f"healthcheck {key} {given[key]}: ECS takes at most {most} s")
            found[_NAMES[key]] = max(wanted, least)
    return found


def _text(value: Any) -> str:
    """Return a value as YAML writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
