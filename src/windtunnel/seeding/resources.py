"""AWS resources: the calls that ``config/aws.json`` lists."""

from pathlib import Path
from typing import Any

from windtunnel.seeding.validation import SeedingError, read_json, validate

FILE = "aws.json"

# Every service has its own name for "it is there already".
_IS_THERE = ("AlreadyExists", "AlreadyOwned", "ResourceExists", "ResourceInUse")

# Service, operation and arguments, as boto3 names them.
Call = tuple[str, str, dict[str, Any]]


def load_resources(path: Path) -> list[Call]:
    """Return the calls that ``config/aws.json`` lists.

    :raises SeedingError: if the file is not of the form ``{service: {operation: [arguments, …]}}``, or
        botocore refuses a call.
    """
    calls = []
    for service, operations in (read_json(path) if path.exists() else {}).items():
        try:
            entries = [(name, arguments) for name, listed in operations.items() for arguments in listed]
        except (AttributeError, TypeError) as error:
            raise SeedingError(f"{path.name}: {service} must hold {{operation: [arguments, …]}}") from error
        for operation, arguments in entries:
            validate(f"{path.name}: {service}.{operation}", service, operation, arguments)
            calls.append((service, operation, arguments))
    return calls


def create(client: Any, operation: str, arguments: dict[str, Any]) -> None:
    """Make a call of ``load_resources``, unless the resource is there already.

    :param client: boto3's for the service.
    :raises SeedingError: if AWS refuses.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    service = client.meta.service_model.service_name
    try:
        getattr(client, operation)(**arguments)
    except (BotoCoreError, ClientError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
        if not any(word in code for word in _IS_THERE):
            raise SeedingError(f"{FILE}: {service}.{operation}: {error}") from error
