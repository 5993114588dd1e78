"""The file ``.env``: settings of the stack, and variables of Airflow's services, as Compose reads it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from dotenv.parser import Binding, parse_stream
from expandvars import ExpandvarsException, expand

from windtunnel.stack.errors import Finding, StackError

# Options of Airflow that the stack sets itself, in airflow.cfg, beside what the compose file sets.
NEEDED = (
    "AIRFLOW__CORE__EXECUTOR",
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__CORE__HOSTNAME_CALLABLE",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__API__HOST",
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
)
# How else Airflow takes an option: from a command, or from a secrets backend.
SOURCES = ("_CMD", "_SECRET")

# Credentials, and files of these; the stack's AWS takes the compose file's.
CREDENTIALS = (
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)


def filled_in(text: str, variables: Mapping[str, str]) -> str:
    """Return a text with its ``$NAME`` and ``${NAME:-default}`` filled in as Compose does; ``$$`` is a ``$``.

    :raises ExpandvarsException: if that cannot be done.
    """
    # A backslash is nothing special to Compose.
    return str(expand(text.replace("\\", "\\\\").replace("$$", "\\$"), environ=variables))


def read(file: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """Return what a file sets; nothing if it is not there.

    :param variables: win over the file's in what is filled in, and give a name without a value its value.
    :raises StackError: if the file cannot be read.
    """
    found: dict[str, str] = {}
    if not file.is_file():
        return found
    try:
        with file.open(encoding="utf-8-sig") as stream:
            for binding in parse_stream(stream):
                found |= _variable(binding, {**found, **variables})
    except (OSError, ValueError, ExpandvarsException) as error:
        raise StackError(f"{file} cannot be read: {error}", next_step="Correct the file.") from error
    return found


def _variable(binding: Binding, variables: Mapping[str, str]) -> dict[str, str]:
    if binding.error:
        raise ValueError(f"line {binding.original.line} is not NAME=value")
    name, value = binding.key, binding.value
    if name is None:
        return {}
    if value is None:
        return {name: variables[name]} if name in variables else {}
    is_literal = re.search(r"^[^=]*=\s*'", binding.original.string)
    return {name: value if is_literal else filled_in(value, variables)}


def findings(file: Path, names: Mapping[str, str], compose_file: Path) -> Iterator[Finding]:
    """Yield each variable of ``.env`` that the stack sets itself, or that may hold credentials of AWS.

    :param names: what the file sets.
    :param compose_file: the stack's own.
    """
    reserved = {*_given(compose_file), *NEEDED, *(f"{name}{source}" for name in NEEDED for source in SOURCES)}
    for name in names:
        if name in CREDENTIALS:
            yield Finding(f"{name} in {file}: the stack's AWS takes no credentials", "Remove the line.")
        elif name in reserved:
            yield Finding(f"{name} in {file}: the stack sets it itself", "Remove the line.")


def _given(compose_file: Path) -> set[str]:
    """Return the variables that the compose file gives to services that get ``.env``, too.

    One whose value there has the user's own in it is a setting of the stack, such as ``PARALLELISM``.
    """
    content = (yaml.safe_load(compose_file.read_text()) if compose_file.exists() else None) or {}
    services = [one for one in (content.get("services") or {}).values() if one and one.get("env_file")]
    variables = (item for service in services for item in (service.get("environment") or {}).items())
    return {name for name, value in variables if f"${{{name}" not in str(value)}
