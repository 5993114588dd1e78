"""Reads compose files as Docker Compose does, as far as this engine needs them."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from expandvars import ExpandvarsException

from windtunnel.stack import env_file
from windtunnel.stack.errors import StackError
from windtunnel.stack.settings import Settings


def read(settings: Settings) -> dict[str, Any]:
    """Return the compose files laid over each other, with every variable filled in.

    :raises StackError: if a file cannot be read or a variable is missing.
    """
    merged: dict[str, Any] = {}
    variables = {**settings.file, **settings.for_compose, "COMPOSE_PROJECT_NAME": settings.project}
    for file in settings.compose_files():
        try:
            content = yaml.safe_load(file.read_text())
            merged = _merged(merged, _in_long_form(_interpolated(content or {}, variables)))
        except (OSError, yaml.YAMLError, ExpandvarsException) as error:
            next_step = "Correct the file or the variable."
            raise StackError(f"{file} cannot be used: {error}", next_step=next_step) from error
    return {**merged, "name": settings.project}


def file_variables(service: Mapping[str, Any], settings: Settings) -> dict[str, str]:
    """Return what a service's ``env_file`` sets, the later file winning.

    :raises StackError: if a file cannot be read, or is not there and required.
    """
    named = service.get("env_file") or []
    found: dict[str, str] = {}
    for one in [named] if isinstance(named, str | dict) else named:
        entry = {"path": one} if isinstance(one, str) else one
        path = settings.root / entry["path"]
        if entry.get("required", True) and not path.is_file():
            raise StackError(f"the env_file {path} is not there", next_step="Make it, or correct the path.")
        found |= env_file.read(path, settings.variables)
    return found


def is_one_shot(service: Mapping[str, Any]) -> bool:
    """Whether a service is to end by itself."""
    return bool(service.get("restart", "no") == "no")


def words(value: str | Sequence[str]) -> list[str]:
    """Return a command as a list of words."""
    return shlex.split(value) if isinstance(value, str) else [str(word) for word in value]


def seconds(duration: str | None) -> float:
    """Return a duration of a compose file, ``1m30s``, in seconds."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    found = re.findall(r"([\d.]+)(ms|s|m|h)", duration or "")
    return sum(float(number) * units[unit] for number, unit in found)


def _interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return env_file.filled_in(value, variables)
    if isinstance(value, dict):
        return {key: _interpolated(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [_interpolated(inner, variables) for inner in value]
    return value


def _in_long_form(content: dict[str, Any]) -> dict[str, Any]:
    """Turn variables and dependencies of services into mappings if they are lists."""
    for service in (content.get("services") or {}).values():
        if isinstance(variables := service.get("environment"), list):
            pairs = (variable.partition("=") for variable in variables)
            service["environment"] = {name: value if separator else None for name, separator, value in pairs}
        if isinstance(names := service.get("depends_on"), list):
            service["depends_on"] = {name: {"condition": "service_started"} for name in names}
    return content


def _merged(below: Any, above: Any, key: str = "") -> Any:
    """Merge as Compose does: the later file wins, but volumes are added."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: _merged(below.get(key), value, key) for key, value in above.items()}}
    if key == "volumes" and isinstance(below, list):
        return [*below, *above]
    return above
