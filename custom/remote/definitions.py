"""Task definitions: a new revision only if it differs in what matters from the latest."""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from custom.remote.errors import RemoteError

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

# What ECS adds to a definition, and what names it.
_ADDED = {
    "taskDefinitionArn",
    "family",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
    "deregisteredAt",
}
# What ECS fills in where nothing is said; all else that it fills in is empty, zero or false.
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "containerDefinitions": {"essential": True},
    "healthCheck": {"interval": 30, "timeout": 5, "retries": 3},
    "runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
}
# Lists whose order says nothing, and what their items are known by.
_UNORDERED = {
    **dict.fromkeys(("containerDefinitions", "environment", "secrets", "secretOptions"), "name"),
    "dependsOn": "containerName",
    "requiresCompatibilities": "",
}


def matching(client: Any, wanted: Mapping[str, Any], log: "Logger") -> str:
    """Return the ARN of the family's latest active revision if it is like ``wanted``, else of a new one.

    Tasks of one machine that come at once register one revision. ECS itself cannot register on a condition,
    so tasks of several machines may register one each; all are alike, and later tasks use the last of them.

    :param client: boto3's for ECS.
    :param wanted: the arguments of ``RegisterTaskDefinition``.
    :raises RemoteError: if ECS refuses the definition.
    """
    if not _differences(latest := _latest(client, wanted["family"]), wanted):
        return str(latest["taskDefinitionArn"])
    with _alone(wanted["family"]):
        latest = _latest(client, wanted["family"])
        differences = _differences(latest, wanted)
        if not differences:
            return str(latest["taskDefinitionArn"])
        try:
            answer = client.register_task_definition(**wanted)
        except ClientError as error:
            said = error.response["Error"]
            raise RemoteError(
                f"ECS does not take the task definition {wanted['family']}: {said['Code']}: {said['Message']}"
                " - Correct the service, the arguments of the operator, or what its connection may do"
            ) from error
    arn = str(answer["taskDefinition"]["taskDefinitionArn"])
    # Names alone: values may be secret.
    log.info(
        "Registered %s: %s",
        arn,
        f"changed are {', '.join(differences)}" if latest else "the first of its family",
    )
    return arn


def _latest(client: Any, family: str) -> dict[str, Any]:
    try:
        return client.describe_task_definition(taskDefinition=family)["taskDefinition"]  # type: ignore[no-any-return]
    except client.exceptions.ClientException:
        # There is no active revision.
        return {}


@contextmanager
def _alone(family: str) -> Iterator[None]:
    """Wait until no other task of this machine registers a revision of a family."""
    name = f"ecs-family-{os.getuid()}-{sha256(family.encode()).hexdigest()[:16]}"
    lock = os.open(os.path.join(tempfile.gettempdir(), name), os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names of what differs in two definitions, ``container.environment.NAME``."""
    found, wanted = _flat(_canonical(one)), _flat(_canonical(other))
    return sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))


def _canonical(definition: Mapping[str, Any]) -> Any:
    return _plain({key: value for key, value in definition.items() if key not in _ADDED})


def _plain(value: Any, key: str = "") -> Any:
    """Return a value without what ECS fills in, and with lists whose order says nothing as mappings."""
    if isinstance(value, Mapping):
        defaults = _DEFAULTS.get(key, {})
        plain = {name: _plain(one, name) for name, one in value.items() if one != defaults.get(name)}
        # Beside its default, a false value is what ECS fills in: but for what is true if nothing is said.
        return {name: one for name, one in plain.items() if one or defaults.get(name) is True}
    if isinstance(value, list | tuple) and key in _UNORDERED:
        by = _UNORDERED[key]
        return {str(one[by] if by else one): _item(one, key, by) for one in value}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    # A role may be given by its name.
    return value.rpartition(":role/")[2] if key.endswith("RoleArn") and isinstance(value, str) else value


def _item(item: Any, key: str, by: str) -> Any:
    if not by:
        return True
    if key in ("environment", "secrets", "secretOptions"):
        # An empty text is a value, too.
        return ("is", item.get("value", item.get("valueFrom")))
    return _plain({name: one for name, one in item.items() if name != by}, key) or True


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {name: value}
    flat: dict[str, Any] = {}
    for key, one in value.items():
        flat |= _flat(one, f"{name}.{key}".removeprefix("."))
    return flat
