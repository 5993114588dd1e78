"""Reading JSON files and checking calls against botocore's own models of AWS."""

import functools
import json
from pathlib import Path
from typing import Any


class SeedingError(Exception):
    """A file or a call cannot be used; the message names it and the reason."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raise a ``SeedingError`` if the file holds none."""
    where = f"{path.parent.name}/{path.name}"
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise SeedingError(f"{where} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise SeedingError(f"{where} must hold a JSON object, not a {type(content).__name__}")
    return content


@functools.cache
def _model(service: str) -> Any:
    """Read botocore's description of a service once: Lambda's takes 20 ms, and each function is checked."""
    from botocore import loaders
    from botocore.model import ServiceModel

    return ServiceModel(loaders.create_loader().load_service_model(service, "service-2"))


def validate(where: str, service: str, operation: str, arguments: dict[str, Any]) -> None:
    """Check a call before anything is sent.

    :param where: what the error's message begins with.
    :raises SeedingError: naming every wrong, unknown or missing argument.
    """
    from botocore import xform_name
    from botocore.exceptions import UnknownServiceError
    from botocore.validate import ParamValidator

    try:
        model = _model(service)
    except UnknownServiceError as error:
        raise SeedingError(f"{where}: boto3 knows no service {service}") from error
    operations = {xform_name(name): name for name in model.operation_names}
    if operation not in operations:
        raise SeedingError(f"{where}: {service} has no operation {operation}")
    shape = model.operation_model(operations[operation]).input_shape
    report = ParamValidator().validate(arguments, shape) if shape else None
    if report and report.has_errors():
        raise SeedingError(f"{where}: {report.generate_report()}")
