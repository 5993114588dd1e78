"""Reading JSON files and checking calls against botocore's own models of AWS."""

import json
from pathlib import Path
from typing import Any


class SeedingError(Exception):
    """A file or a call cannot be used; the message names it and the reason."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    :raises SeedingError: if the file holds none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise SeedingError(f"{path.parent.name}/{path.name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise SeedingError(
            f"{path.parent.name}/{path.name} must hold a JSON object, not a {type(content).__name__}"
        )
    return content


def validate(where: str, service: str, operation: str, arguments: dict[str, Any]) -> None:
    """Check a call before anything is sent.

    :param where: what the error's message begins with.
    :raises SeedingError: naming every wrong, unknown or missing argument.
    """
    import botocore
    import botocore.exceptions
    import botocore.loaders
    import botocore.model
    import botocore.validate

    try:
        description = botocore.loaders.create_loader().load_service_model(service, "service-2")
    except botocore.exceptions.UnknownServiceError as error:
        raise SeedingError(f"{where}: boto3 knows no service {service}") from error
    model = botocore.model.ServiceModel(description)
    operations = {botocore.xform_name(name): name for name in model.operation_names}
    if operation not in operations:
        raise SeedingError(f"{where}: {service} has no operation {operation}")
    shape = model.operation_model(operations[operation]).input_shape
    report = botocore.validate.ParamValidator().validate(arguments, shape) if shape else None
    if report and report.has_errors():
        raise SeedingError(f"{where}: {report.generate_report()}")
