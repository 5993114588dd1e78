import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from windtunnel.seeding import deployment, functions
from windtunnel.seeding.layers import Layers
from windtunnel.seeding.validation import SeedingError

from ..stand_ins.web_server import Server
from .conftest import PATH, made, writes


def deploy(function: functions.Function, before: dict[str, Any] | None = None) -> bool:
    client = boto3.client("lambda")
    packages = made(function.folder.parents[1])
    return deployment.deploy(function, client, packages.function(function), Layers(packages, client), before)


def present(server: Server, root: Path, folder: Path, **changed: Any) -> functions.Function:
    """Let the function be there as its folder says, but for what is ``changed``."""
    function = functions.load_function(folder)
    code = made(root).function(function)
    sha = base64.b64encode(hashlib.sha256(code).digest()).decode()
    server.answers(
        f"GET {PATH}/my-function/configuration", {**function.settings, "CodeSha256": sha, **changed}
    )
    return function


def test_a_new_function_is_created(lambda_api: Server, folder: Path) -> None:
    assert deploy(functions.load_function(folder)) is True
    assert writes(lambda_api) == [f"POST {PATH}"]


def test_a_function_that_is_as_it_should_be_is_left_alone(
    lambda_api: Server, root: Path, folder: Path
) -> None:
    assert deploy(present(lambda_api, root, folder)) is False
    assert writes(lambda_api) == []


@pytest.mark.parametrize(
    ("changed", "part"), [({"CodeSha256": "old"}, "code"), ({"Timeout": 900}, "configuration")]
)
def test_only_what_differs_is_updated(
    lambda_api: Server, root: Path, folder: Path, changed: dict[str, Any], part: str
) -> None:
    assert deploy(present(lambda_api, root, folder, **changed)) is True
    assert writes(lambda_api) == [f"PUT {PATH}/my-function/{part}"]


def test_a_function_that_does_not_become_active_is_named_with_lambdas_reason(
    lambda_api: Server, folder: Path
) -> None:
    failed = {"Configuration": {"State": "Failed", "StateReason": "no such runtime"}}
    lambda_api.answers(f"GET {PATH}/my-function", failed)

    with pytest.raises(SeedingError, match="Lambda does not take my-function: no such runtime"):
        deploy(functions.load_function(folder))


def test_what_a_function_can_only_be_created_with_is_left_out_of_updates(
    lambda_api: Server, root: Path, folder: Path
) -> None:
    (folder / "function.json").write_text(json.dumps({"Tags": {"team": "a"}, "Timeout": 3}))
    function = present(lambda_api, root, folder, Tags=None)

    assert deploy(function) is False


def sent(server: Server, request: str) -> Any:
    (body,) = [body for found, body in server.requests if found == request]
    return body


@pytest.mark.parametrize(
    ("before", "current", "reset"),
    [
        ({"Environment": {"Variables": {"A": "1"}}}, {}, {"Environment": {"Variables": {}}}),
        ({"MemorySize": 512}, {}, {"MemorySize": 128}),
        ({"LoggingConfig": {"LogFormat": "JSON"}}, {}, {"LoggingConfig": {"LogFormat": "Text"}}),
    ],
)
def test_a_setting_that_is_taken_out_is_undone(
    lambda_api: Server,
    root: Path,
    folder: Path,
    before: dict[str, Any],
    current: dict[str, Any],
    reset: dict[str, Any],
) -> None:
    function = present(lambda_api, root, folder, **{**before, **current})

    assert deploy(function, {**function.settings, **before}) is True

    (key,) = reset
    assert sent(lambda_api, f"PUT {PATH}/my-function/configuration")[key] == reset[key]


def test_what_lambda_completes_is_no_change(lambda_api: Server, root: Path, folder: Path) -> None:
    own = {"LoggingConfig": {"LogFormat": "JSON"}, "Environment": {"Variables": {"A": "1"}}}
    (folder / "function.json").write_text(json.dumps(own))
    completed = {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "LogGroup": "/aws/lambda/my-function"}
    function = present(lambda_api, root, folder, LoggingConfig=completed)

    assert deploy(function, function.settings) is False


def test_a_variable_that_is_taken_out_is_a_change(lambda_api: Server, root: Path, folder: Path) -> None:
    (folder / "function.json").write_text(json.dumps({"Environment": {"Variables": {"A": "1"}}}))
    function = present(lambda_api, root, folder, Environment={"Variables": {"A": "1", "B": "2"}})

    assert deploy(function) is True


def test_what_cannot_be_changed_makes_the_function_again(
    lambda_api: Server, root: Path, folder: Path
) -> None:
    (folder / "function.json").write_text(json.dumps({"Tags": {"team": "b"}}))
    function = present(lambda_api, root, folder)
    lambda_api.answers(f"DELETE {PATH}/my-function", {})

    assert deploy(function, {**function.settings, "Tags": {"team": "a"}}) is True
    assert writes(lambda_api) == [f"DELETE {PATH}/my-function", f"POST {PATH}"]


def test_a_failed_function_is_updated_though_its_folder_is_as_before(
    lambda_api: Server, root: Path, folder: Path
) -> None:
    assert deploy(present(lambda_api, root, folder, State="Failed")) is True
    assert writes(lambda_api) == [f"PUT {PATH}/my-function/configuration"]
