"""AWS resources: the calls that ``config/aws.json`` lists."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from windtunnel.seeding import updates
from windtunnel.seeding.validation import SeedingError, read_json, validate

FILE = "aws.json"

# How the names of variables begin in which overlays list calls as the file does.
VARIABLE = "AWS_RESOURCES_"

# Every service has its own name for "it is there already".
_IS_THERE = (
    *(
        "AlreadyExist",
        "AlreadyOwned",
        "ResourceExists",
        "ResourceInUse",
        "QueueNameExists",
        "Conflict",
        "Duplicate",
    ),
)

# Batch has one code for all that is wrong, and says this in the message.
_IS_THERE_MESSAGE = "Object already exists"

# Service, operation and arguments, as boto3 names them.
Call = tuple[str, str, dict[str, Any]]


def load_resources(path: Path) -> list[Call]:
    """Return the calls that ``config/aws.json`` lists.

    :raises SeedingError: if the file is not of the form ``{service: {operation: [arguments, …]}}``, or
        botocore refuses a call.
    """
    return _calls(path.name, read_json(path) if path.exists() else {})


def load_of_overlays(variables: Mapping[str, str]) -> list[Call]:
    """Return the calls that overlays list, each in a variable of its own: ``AWS_RESOURCES_ECS``.

    :raises SeedingError: as `load_resources` does.
    """
    found = []
    for name, text in sorted(variables.items()):
        if name.startswith(VARIABLE):
            try:
                found += _calls(name, json.loads(text))
            except json.JSONDecodeError as error:
                raise SeedingError(f"{name} is not JSON: {error}") from error
    return found


def _calls(origin: str, content: Mapping[str, Any]) -> list[Call]:
    calls = []
    for service, operations in content.items():
        try:
            entries = [(name, arguments) for name, listed in operations.items() for arguments in listed]
        except (AttributeError, TypeError) as error:
            raise SeedingError(f"{origin}: {service} must hold {{operation: [arguments, …]}}") from error
        for operation, arguments in entries:
            validate(f"{origin}: {service}.{operation}", service, operation, arguments)
            calls.append((service, operation, arguments))
    return calls


def apply(
    calls: Sequence[Call], client_of: Callable[[str], Any], made: Collection[str] = ()
) -> tuple[list[str], list[str]]:
    """Make calls in an order that works: one that fails is tried again as long as others succeed.

    So a resource may refer to one that comes later in the file.

    :param client_of: returns boto3's client for a service.
    :param made: the marks of calls that need not be made again, from an earlier call of this function.
    :return: the marks of all calls that are made now, and why the others are not.
    """
    marks = {json.dumps(call, sort_keys=True): call for call in calls}
    done = [mark for mark in marks if mark in made]
    reasons: dict[str, str] = {}
    while pending := [mark for mark in marks if mark not in done]:
        before = len(done)
        for mark in pending:
            service, operation, arguments = marks[mark]
            try:
                _create(client_of(service), operation, arguments)
            except SeedingError as error:
                reasons[mark] = str(error)
            else:
                done.append(mark)
        if len(done) == before:
            return done, [reasons[mark] for mark in pending]
    return done, []


def _create(client: Any, operation: str, arguments: dict[str, Any]) -> None:
    """Create a resource; one that is there already is brought to these arguments.

    :raises SeedingError: if AWS refuses.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    where = f"{FILE}: {client.meta.service_model.service_name}.{operation}"
    try:
        try:
            if not updates.is_registered(client, operation, arguments):
                getattr(client, operation)(**arguments)
        except ClientError as error:
            if not _says_it_is_there(error.response["Error"]):
                raise
            updates.update(client, operation, arguments)
    except (BotoCoreError, ClientError) as error:
        raise SeedingError(f"{where}: {error}") from error


def _says_it_is_there(error: Mapping[str, str]) -> bool:
    return any(word in error["Code"] for word in _IS_THERE) or _IS_THERE_MESSAGE in error.get("Message", "")
