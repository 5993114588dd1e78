"""Bringing Lambda to what the functions' folders say."""

import base64
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from windtunnel.seeding.functions import Function
from windtunnel.seeding.layers import Layers
from windtunnel.seeding.validation import SeedingError

# botocore's own waiter looks once a second; LocalStack needs about 0.15 s.
WAITER = {"Delay": 0.05, "MaxAttempts": 600}

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


def deploy(
    function: Function, client: Any, code: bytes, layers: Layers, before: Settings | None = None
) -> bool:
    """Create or update ``function`` and wait until it is Active; False if it was up to date already.

    :param client: boto3's for Lambda.
    :param code: its package.
    :param layers: those that it may name; they are published before it.
    :param before: the settings of its last deployment; those that are gone from the folder are undone.
    :raises SeedingError: with Lambda's reason, if Lambda does not take it.
    """
    from botocore.exceptions import BotoCoreError, ClientError, WaiterError

    name = {"FunctionName": function.name}
    try:
        layers.require_fit(function, code)
        if named := function.settings.get("Layers"):
            arns = [layers.arn(setting) for setting in named]
            function = replace(function, settings={**function.settings, "Layers": arns})
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


def is_as_saved(function: Function, found: Mapping[str, Any] | None, code: bytes, layers: Layers) -> bool:
    """Return whether Lambda has the folder's code and layers, and the settings were not saved since.

    :param found: the function's configuration on Lambda; None if it is not there.
    :param code: its package.
    """
    if found is None or not _has_code(found, code):
        return False
    there = [layer["Arn"] for layer in found.get("Layers", [])]
    if there != [layers.published(name) for name in function.settings.get("Layers", [])]:
        return False
    settings = function.folder / "function.json"
    saved = settings.stat().st_mtime if settings.exists() else 0.0
    return saved < datetime.fromisoformat(found["LastModified"]).timestamp()


def _has_code(found: Mapping[str, Any], code: bytes) -> bool:
    return bool(found["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode())
