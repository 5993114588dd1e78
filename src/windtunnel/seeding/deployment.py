"""Packaging functions, and bringing Lambda to what their folders say."""

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from windtunnel.seeding.functions import Function, followed
from windtunnel.seeding.validation import SeedingError

# botocore's own waiter looks once a second; LocalStack needs about 0.15 s.
WAITER = {"Delay": 0.05, "MaxAttempts": 600}

MIB = 1024 * 1024

# Of a package with all that is in it. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_ZIPPED, MAX_UNZIPPED = 50 * MIB, 250 * MIB

# What AWS gives a function without the setting; so it is again if it is taken out of `function.json`.
# https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionConfiguration.html
AWS_DEFAULTS: dict[str, Any] = {
    "DeadLetterConfig": {},
    "Description": "",
    "Environment": {"Variables": {}},
    "EphemeralStorage": {"Size": 512},
    "FileSystemConfigs": [],
    "KMSKeyArn": "",
    "Layers": [],
    "LoggingConfig": {"LogFormat": "Text"},
    "MemorySize": 128,
    "SnapStart": {"ApplyOn": "None"},
    "TracingConfig": {"Mode": "PassThrough"},
    "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
}

type Settings = Mapping[str, Any]


def package(folders: Iterable[Path]) -> bytes:
    """Zip the first folder's content and further folders by name; equal input makes equal bytes.

    What links lead to is packed like what is there itself.

    :raises SeedingError: if a link cannot be followed, or Lambda's limits are exceeded.
    """
    main, *libraries = folders
    buffer, size = io.BytesIO(), 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for prefix, root in [("", main), *((f"{library.name}/", library) for library in libraries)]:
            for name, path in _files(root, root.parent, prefix, (root.resolve(),)):
                entry = zipfile.ZipInfo(name)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                content = path.read_bytes()
                size += len(content)
                archive.writestr(entry, content)
    for found, limit, kind in (
        (buffer.tell(), MAX_ZIPPED, "zipped"),
        (size, MAX_UNZIPPED, "unzipped"),
    ):
        if found > limit:
            raise SeedingError(
                f"lambdas/{main.name} is {found / MIB:.0f} MB {kind}, and Lambda takes {limit / MIB:.0f} MB: "
                "leave out what the function does not need"
            )
    return buffer.getvalue()


def _files(folder: Path, boundary: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    """Yield each file of a folder with its name in the package.

    :param boundary: the folder with all functions.
    :param above: the folders on the way here, by which a link in a circle is recognised.
    """
    for path in sorted(folder.iterdir()):
        name, real = prefix + path.name, followed(path, boundary)
        if real in above:
            raise SeedingError(f"{boundary.name}/{folder.name}/{path.name} is a link to a folder around it")
        if path.name == "__pycache__":
            continue
        if path.is_dir():
            yield from _files(path, boundary, f"{name}/", (*above, real))
        else:
            yield name, path


def deploy(function: Function, client: Any, library: Path, before: Settings | None = None) -> bool:
    """Create or update ``function`` and wait until it is Active; False if it was up to date already.

    :param client: boto3's for Lambda.
    :param library: the folder of ``airflow_relay``, which each function gets.
    :param before: the settings of its last deployment; those that are gone from the folder are undone.
    :raises SeedingError: with Lambda's reason, if Lambda does not take it.
    """
    from botocore.exceptions import BotoCoreError, ClientError, WaiterError

    name = {"FunctionName": function.name}
    try:
        code = package([function.folder, library])
        current = _configuration(client, function.name)
        if current and before and _must_be_made_again(client, before, function.settings):
            client.delete_function(**name)
            current = None
        changes = _changes(client, function, current, code, before or {})
        for number, (call, arguments) in enumerate(changes, 1):
            call(**arguments)
            # Settings may need the new code, or the code the settings: only the last change has to succeed.
            with suppress(*[WaiterError] if number < len(changes) else []):
                if current:
                    client.get_waiter("function_updated_v2").wait(**name, WaiterConfig=WAITER)
        client.get_waiter("function_active_v2").wait(**name, WaiterConfig=WAITER)
    except (ClientError, BotoCoreError, OSError) as error:
        reason = str(error)
        if isinstance(error, WaiterError):
            last = error.last_response.get("Configuration", error.last_response)
            reason = last.get("StateReason") or last.get("LastUpdateStatusReason") or reason
        raise SeedingError(f"Lambda does not take {function.name}: {reason}") from error
    return bool(changes)


def _configuration(client: Any, name: str) -> dict[str, Any] | None:
    """Return a function as it is on Lambda; None if it is not there."""
    try:
        found: dict[str, Any] = client.get_function_configuration(FunctionName=name)
    except client.exceptions.ResourceNotFoundException:
        return None
    return found | {"Layers": [layer["Arn"] for layer in found.get("Layers", [])]}


def _changeable(client: Any) -> set[str]:
    """Return the settings that can be changed after a function was created; its tags, for example, cannot."""
    return set(client.meta.service_model.operation_model("UpdateFunctionConfiguration").input_shape.members)


def _must_be_made_again(client: Any, before: Settings, after: Settings) -> bool:
    differ = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    return not differ <= _changeable(client)


def _changes(
    client: Any, function: Function, current: Settings | None, code: bytes, before: Settings
) -> list[tuple[Any, dict[str, Any]]]:
    """Return the calls that make a function what its folder says."""
    if current is None:
        return [(client.create_function, {**function.settings, "Code": {"ZipFile": code}})]
    changes = []
    if not _has_code(current, code):
        changes.append((client.update_function_code, {"FunctionName": function.name, "ZipFile": code}))
    gone = {key: AWS_DEFAULTS[key] for key in before.keys() - function.settings.keys() if key in AWS_DEFAULTS}
    changeable = _changeable(client)
    wanted = {key: value for key, value in {**gone, **function.settings}.items() if key in changeable}
    failed = "Failed" in (current.get("State"), current.get("LastUpdateStatus"))
    if failed or not all(_holds(current.get(key), value) for key, value in wanted.items()):
        changes.append((client.update_function_configuration, wanted))
    return changes


def _holds(found: Any, wanted: Any) -> bool:
    """Return whether Lambda has a setting; it completes some, such as ``LoggingConfig``, but no variables."""
    if _is_empty(wanted):
        return _is_empty(found)
    if not isinstance(wanted, dict) or not isinstance(found, dict):
        return bool(found == wanted)
    return all(found.get(k) == v if k == "Variables" else _holds(found.get(k), v) for k, v in wanted.items())


def _is_empty(value: Any) -> bool:
    return all(map(_is_empty, value.values())) if isinstance(value, dict) else not value


def is_as_saved(function: Function, found: Mapping[str, Any] | None, library: Path) -> bool:
    """Return whether Lambda has the folder's code, and the settings were not saved since.

    :param found: the function's configuration on Lambda; None if it is not there.
    :param library: the folder of ``airflow_relay``.
    """
    if found is None or not _has_code(found, package([function.folder, library])):
        return False
    settings = function.folder / "function.json"
    saved = settings.stat().st_mtime if settings.exists() else 0.0
    return saved < datetime.fromisoformat(found["LastModified"]).timestamp()


def _has_code(found: Mapping[str, Any], code: bytes) -> bool:
    return bool(found["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode())
