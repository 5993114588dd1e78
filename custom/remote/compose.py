"""Reads one service of a compose file: its variables put in, its environment whole.

https://docs.docker.com/reference/compose-file/
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values

from custom.remote.errors import RemoteError

# In the order in which Compose looks for them.
FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<kind>:?[-?+])(?P<rest>(?:[^{}]|\{[^{}]*\})*))?\})"
)


def find(folder: Path, compose_file: str | Path | None) -> Path:
    """Return a compose file.

    :param folder: where a relative path counts from.
    :param compose_file: its path; if None, the file in the folder that Compose would take.
    :raises RemoteError: if there is none.
    """
    wanted = [compose_file] if compose_file else FILES
    found = next((path for path in (folder / one for one in wanted) if path.is_file()), None)
    if found is None:
        raise RemoteError(
            f"There is no compose file {' or '.join(map(str, wanted))} in {folder}: pass its path as "
            "compose_file"
        )
    return found


def read(file: Path, service: str) -> dict[str, Any]:
    """Return a service as the file has it, with variables of the environment and of ``.env`` beside the file.

    Its ``environment`` is a dict that has what ``env_file`` adds.

    :raises RemoteError: if the file is not one, or has no such service.
    """
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise RemoteError(f"{file} cannot be read as a compose file: {error}") from error
    services = content.get("services") if isinstance(content, dict) else None
    there = services if isinstance(services, dict) else {}
    if not isinstance(found := there.get(service), dict):
        raise RemoteError(
            f"{file} describes no service {service}: name one that it has, of "
            f"{', '.join(map(str, there)) or 'none so far'}"
        )
    if "extends" in found:
        raise RemoteError(
            f"{file}: service {service} extends another, which is not followed here: let "
            "`docker compose config` write the file in full"
        )
    beside = file.with_name(".env")
    variables = {**(dotenv_values(beside) if beside.is_file() else {}), **os.environ}
    try:
        whole: dict[str, Any] = _interpolated(found, variables)
        whole["environment"] = {
            **_env_files(whole.pop("env_file", None), file.parent),
            **_environment(whole, variables),
        }
    except RemoteError as error:
        raise RemoteError(f"{file}, service {service}: {error}") from None
    return whole


def environment_of(value: Any) -> dict[str, Any]:
    """Return an environment, a mapping or a list of ``NAME=value``, as a dict; a name alone has None."""
    if isinstance(value, Mapping):
        return dict(value)
    return {
        name: rest if sign else None for name, sign, rest in (str(one).partition("=") for one in value or ())
    }


def _interpolated(value: Any, variables: Mapping[str, str | None]) -> Any:
    if isinstance(value, dict):
        return {name: _interpolated(one, variables) for name, one in value.items()}
    if isinstance(value, list):
        return [_interpolated(one, variables) for one in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _value(match, variables), value)
    return value


def _value(match: re.Match[str], variables: Mapping[str, str | None]) -> str:
    if match["escaped"]:
        return "$"
    name, kind, rest = (
        match["plain"] or match["name"],
        match["kind"] or "",
        _interpolated(match["rest"] or "", variables),
    )
    value = variables.get(name)
    is_there = bool(value) if kind.startswith(":") else value is not None
    if kind.endswith("?") and not is_there:
        raise RemoteError(f"{name} is not set: {rest}")
    if kind.endswith("+"):
        return rest if is_there else ""
    return (value or "") if is_there else rest


def _environment(service: Mapping[str, Any], variables: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the environment; a name alone has its value from outside, and is left out without one."""
    given = environment_of(service.get("environment"))
    resolved = {name: variables.get(name) if value is None else value for name, value in given.items()}
    return {name: value for name, value in resolved.items() if value is not None}


def _env_files(value: Any, folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in value if isinstance(value, list) else [value] if value else []:
        path, required = (one["path"], one.get("required", True)) if isinstance(one, dict) else (one, True)
        if (folder / path).is_file():
            found |= {name: text or "" for name, text in dotenv_values(folder / path).items()}
        elif required:
            raise RemoteError(f"its env_file {path} is not in {folder}")
    return found
