import base64
import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest

from windtunnel.seeding import functions as seeding

from ..conftest import Server

HANDLER = "def lambda_handler(event, context): ...\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is mounted into LocalStack's container: one function, the library, an empty config folder."""
    for name in ("lambdas/my_function", "airflow_relay", "config"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lambdas/my_function/lambda_function.py").write_text(HANDLER)
    (tmp_path / "airflow_relay/__init__.py").touch()
    monkeypatch.setattr(seeding, "ROOT", tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def folder(root: Path) -> Path:
    return root / "lambdas/my_function"


# Reading functions


def test_a_folder_is_enough_for_a_function(folder: Path) -> None:
    function = seeding.load_function(folder)

    assert function.name == "my-function"
    assert function.settings["Handler"] == "lambda_function.lambda_handler"


def test_its_settings_win(folder: Path) -> None:
    (folder / "function.json").write_text(json.dumps({"FunctionName": "other", "Timeout": 3}))

    assert seeding.load_function(folder).settings["Timeout"] == 3
    assert seeding.load_function(folder).name == "other"


@pytest.mark.parametrize(
    "source",
    [
        "def main(event, context): ...",
        "main = print",
        "from x import main",
        "from x import y as main",
        "class main: ...",
    ],
)
def test_a_handler_may_be_anything_that_is_called_so(folder: Path, source: str) -> None:
    (folder / "function.json").write_text('{"Handler": "lambda_function.main"}')
    (folder / "lambda_function.py").write_text(source)

    assert seeding.load_function(folder)


@pytest.mark.parametrize(
    ("settings", "source", "problem"),
    [
        ("{", HANDLER, "my_function/function.json is not JSON"),
        ("[]", HANDLER, "must hold a JSON object, not a list"),
        ('{"Timeout": "long"}', HANDLER, "Timeout"),
        ('{"Timeoutt": 3}', HANDLER, "Timeoutt"),
        ('{"Handler": "app.go"}', HANDLER, r"has no handler: app\.py is missing"),
        ("{}", "x = 1", "does not define lambda_handler"),
        ("{}", "def f(:", r"lambdas/my_function/lambda_function\.py, line 1"),
    ],
)
def test_what_is_wrong_with_a_function_is_named(
    folder: Path, settings: str, source: str, problem: str
) -> None:
    (folder / "function.json").write_text(settings)
    (folder / "lambda_function.py").write_text(source)

    with pytest.raises(seeding.SeedingError, match=problem):
        seeding.load_function(folder)


def test_folders_that_are_no_functions(root: Path) -> None:
    for name in ("airflow_relay", "__pycache__", ".hidden"):
        (root / "lambdas" / name).mkdir()
    (root / "lambdas/README.md").touch()

    assert [path.name for path in seeding.function_folders(root / "lambdas")] == ["my_function"]


def test_two_folders_cannot_be_one_function(root: Path) -> None:
    other = root / "lambdas/other"
    other.mkdir()
    (other / "lambda_function.py").write_text(HANDLER)
    (other / "function.json").write_text('{"FunctionName": "my-function"}')

    with pytest.raises(seeding.SeedingError, match="my-function"):
        seeding.load_functions(root / "lambdas")


# Reading resources


def test_resources(root: Path) -> None:
    file = root / "config/aws.json"
    assert seeding.load_resources(file) == []

    file.write_text(
        json.dumps({"logs": {"create_log_group": [{"logGroupName": "/a"}, {"logGroupName": "/b"}]}})
    )
    assert seeding.load_resources(file) == [
        ("logs", "create_log_group", {"logGroupName": "/a"}),
        ("logs", "create_log_group", {"logGroupName": "/b"}),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"logs": {"create_nothing": [{}]}}, "logs has no operation create_nothing"),
        ({"logs": {"create_log_group": [{}]}}, "logGroupName"),
        ({"logs": "all"}, "must hold"),
    ],
)
def test_what_is_wrong_with_a_resource_is_named(root: Path, content: Any, problem: str) -> None:
    (root / "config/aws.json").write_text(json.dumps(content))

    with pytest.raises(seeding.SeedingError, match=problem):
        seeding.load_resources(root / "config/aws.json")


# Packages


def test_a_package_holds_function_and_library_and_nothing_compiled(root: Path, folder: Path) -> None:
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/x.pyc").touch()

    package = seeding.package([folder, root / "airflow_relay"])

    names = zipfile.ZipFile(io.BytesIO(package)).namelist()
    assert names == ["lambda_function.py", "airflow_relay/__init__.py"]


def test_equal_files_make_equal_packages(folder: Path) -> None:
    first = seeding.package([folder])
    os.utime(folder / "lambda_function.py", (0, 0))

    assert seeding.package([folder]) == first


# Deploying


PATH = "/2015-03-31/functions"


@pytest.fixture
def lambda_api(server: Server, monkeypatch: pytest.MonkeyPatch, root: Path, folder: Path) -> Server:
    """An AWS in which the function does not exist yet."""
    for name, value in {
        "AWS_ENDPOINT_URL": server.address,
        "AWS_DEFAULT_REGION": "ap-southeast-2",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    missing = {"__type": "ResourceNotFoundException", "Message": "Function not found"}
    server.answers(f"GET {PATH}/my-function/configuration", missing, status=404)
    server.answers(f"POST {PATH}", {"FunctionName": "my-function"}, status=201)
    active = {"Configuration": {"State": "Active", "LastUpdateStatus": "Successful"}}
    server.answers(f"GET {PATH}/my-function", active)
    server.answers(f"PUT {PATH}/my-function/code", {})
    server.answers(f"PUT {PATH}/my-function/configuration", {})
    return server


def writes(server: Server) -> list[str]:
    return [request for request, _ in server.requests if not request.startswith("GET")]


def present(server: Server, root: Path, folder: Path, **changed: Any) -> seeding.Function:
    """Let the function be there as its folder says, but for what is ``changed``."""
    function = seeding.load_function(folder)
    code = seeding.package([folder, root / "airflow_relay"])
    sha = base64.b64encode(hashlib.sha256(code).digest()).decode()
    server.answers(
        f"GET {PATH}/my-function/configuration", {**function.settings, "CodeSha256": sha, **changed}
    )
    return function


def test_a_new_function_is_created(lambda_api: Server, folder: Path) -> None:
    assert seeding.deploy(seeding.load_function(folder)) is True
    assert writes(lambda_api) == [f"POST {PATH}"]


def test_a_function_that_is_as_it_should_be_is_left_alone(
    lambda_api: Server, root: Path, folder: Path
) -> None:
    assert seeding.deploy(present(lambda_api, root, folder)) is False
    assert writes(lambda_api) == []


@pytest.mark.parametrize(
    ("changed", "part"), [({"CodeSha256": "old"}, "code"), ({"Timeout": 900}, "configuration")]
)
def test_only_what_differs_is_updated(
    lambda_api: Server, root: Path, folder: Path, changed: dict[str, Any], part: str
) -> None:
    assert seeding.deploy(present(lambda_api, root, folder, **changed)) is True
    assert writes(lambda_api) == [f"PUT {PATH}/my-function/{part}"]


def test_a_function_that_does_not_become_active_is_named_with_lambdas_reason(
    lambda_api: Server, folder: Path
) -> None:
    failed = {"Configuration": {"State": "Failed", "StateReason": "no such runtime"}}
    lambda_api.answers(f"GET {PATH}/my-function", failed)

    with pytest.raises(seeding.SeedingError, match="Lambda does not take my-function: no such runtime"):
        seeding.deploy(seeding.load_function(folder))


def test_what_a_function_can_only_be_created_with_is_left_out_of_updates(
    lambda_api: Server, root: Path, folder: Path
) -> None:
    (folder / "function.json").write_text(json.dumps({"Tags": {"team": "a"}, "Timeout": 3}))
    function = present(lambda_api, root, folder, Tags=None)

    assert seeding.deploy(function) is False


def test_the_account_lies_with_the_temporary_files_of_localstack(tmp_path: Path) -> None:
    """In the local engine several of them share one machine."""
    assert seeding.account({"TMPDIR": str(tmp_path)}).parent == tmp_path
    assert seeding.account({}).parent == Path(gettempdir())


def test_seeding_goes_on_after_a_failure_and_keeps_account_of_it(lambda_api: Server, root: Path) -> None:
    broken = root / "lambdas/broken"
    broken.mkdir()

    wrong = seeding.seed_functions()

    assert list(wrong) == ["broken"]
    assert seeding.failures(os.environ) == wrong
    assert writes(lambda_api) == [f"POST {PATH}"]

    broken.rmdir()
    assert seeding.seed_functions() == {}
    assert seeding.failures(os.environ) == {}


def test_deploying_one_function_settles_its_own_account_alone(lambda_api: Server, root: Path) -> None:
    for name in ("broken", "other"):
        (root / "lambdas" / name).mkdir()
    seeding.seed_functions()

    (root / "lambdas/broken/lambda_function.py").write_text(HANDLER)
    missing = {"__type": "ResourceNotFoundException", "Message": "Function not found"}
    lambda_api.answers(f"GET {PATH}/broken/configuration", missing, status=404)
    lambda_api.answers(f"GET {PATH}/broken", {"Configuration": {"State": "Active"}})

    assert seeding.seed_functions(["broken"]) == {}
    assert list(seeding.failures(os.environ)) == ["other"]


@pytest.mark.parametrize("code", ["ResourceAlreadyExistsException", "ResourceInUseException"])
def test_a_resource_that_is_there_already_is_no_failure(lambda_api: Server, root: Path, code: str) -> None:
    groups = [{"logGroupName": "/a"}]
    (root / "config/aws.json").write_text(json.dumps({"logs": {"create_log_group": groups}}))
    lambda_api.answers("POST /", {"__type": code}, status=400)
    seeding.seed_resources()
    assert seeding.failures(os.environ) == {}

    lambda_api.answers("POST /", {"__type": "LimitExceededException"}, status=400)
    seeding.seed_resources()
    assert "LimitExceededException" in seeding.failures(os.environ)["aws.json"]

    seeding.seed_functions()
    assert list(seeding.failures(os.environ)) == ["aws.json"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"nosuch": {"create_x": [{}]}}, "knows no service nosuch"),
        ({"s3": {"make_bucket": [{}]}}, "s3 has no operation make_bucket"),
    ],
)
def test_unknown_services_and_operations_are_refused(root: Path, content: object, reason: str) -> None:
    (root / "config/aws.json").write_text(json.dumps(content))

    with pytest.raises(seeding.SeedingError, match=reason):
        seeding.load_resources(root / "config/aws.json")


def test_operations_have_boto3s_names(root: Path) -> None:
    arguments = {"DBInstanceIdentifier": "d", "DBInstanceClass": "c", "Engine": "postgres"}
    (root / "config/aws.json").write_text(json.dumps({"rds": {"create_db_instance": [arguments]}}))

    assert seeding.load_resources(root / "config/aws.json") == [("rds", "create_db_instance", arguments)]


def test_a_source_that_is_not_utf_8_is_named(folder: Path) -> None:
    (folder / "lambda_function.py").write_bytes(b"\xff\xfe")

    with pytest.raises(seeding.SeedingError, match=r"my_function/lambda_function\.py"):
        seeding.load_function(folder)
