import json
import os
import shutil
from pathlib import Path

import pytest

from windtunnel.seeding import account, watch

from ..stand_ins.web_server import Server
from .conftest import HANDLER, PATH, writes


def test_seeding_goes_on_after_a_failure_and_keeps_account_of_it(lambda_api: Server, root: Path) -> None:
    broken = root / "lambdas/broken"
    broken.mkdir()

    wrong = watch.seed_functions()

    assert list(wrong) == ["broken"]
    assert account.read(os.environ)["failures"] == wrong
    assert writes(lambda_api) == [f"POST {PATH}"]

    broken.rmdir()
    assert watch.seed_functions() == {}
    assert account.read(os.environ)["failures"] == {}


def test_an_overlay_brings_functions_by_a_variable(
    lambda_api: Server, root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay = root / "overlay"
    overlay.mkdir()
    folder.rename(overlay / "my_function")

    watch.seed_functions()
    assert writes(lambda_api) == []

    monkeypatch.setenv("AWS_FUNCTIONS_MINE", str(overlay))
    assert watch.seed_functions() == {}
    assert writes(lambda_api) == [f"POST {PATH}"]


def test_deploying_one_function_settles_its_own_account_alone(lambda_api: Server, root: Path) -> None:
    for name in ("broken", "other"):
        (root / "lambdas" / name).mkdir()
    watch.seed_functions()

    (root / "lambdas/broken/lambda_function.py").write_text(HANDLER)
    missing = {"__type": "ResourceNotFoundException", "Message": "Function not found"}
    lambda_api.answers(f"GET {PATH}/broken/configuration", missing, status=404)
    lambda_api.answers(f"GET {PATH}/broken", {"Configuration": {"State": "Active"}})

    assert watch.seed_functions(["broken"]) == {}
    assert list(account.read(os.environ)["failures"]) == ["other"]


def test_a_folder_that_is_deleted_takes_its_function_away(
    lambda_api: Server, root: Path, folder: Path
) -> None:
    watch.seed_functions()
    lambda_api.answers(f"DELETE {PATH}/my-function", {})
    lambda_api.requests.clear()

    (folder / "lambda_function.py").unlink()
    watch.seed_functions()
    assert writes(lambda_api) == []  # it is broken, not gone

    folder.rmdir()
    watch.seed_functions()
    assert writes(lambda_api) == [f"DELETE {PATH}/my-function"]
    watch.seed_functions()
    assert writes(lambda_api) == [f"DELETE {PATH}/my-function"]


def test_a_failed_function_is_gone_with_its_folder_too(lambda_api: Server, root: Path, folder: Path) -> None:
    lambda_api.answers(f"GET {PATH}/my-function", {"Configuration": {"State": "Failed", "StateReason": "no"}})
    lambda_api.answers(f"DELETE {PATH}/my-function", {})
    assert list(watch.seed_functions()) == ["my_function"]

    shutil.rmtree(folder)
    assert watch.seed_functions() == {}

    assert writes(lambda_api) == [f"POST {PATH}", f"DELETE {PATH}/my-function"]


def test_a_function_with_a_new_name_is_not_there_under_the_old_one(
    lambda_api: Server, root: Path, folder: Path
) -> None:
    watch.seed_functions()
    lambda_api.answers(f"DELETE {PATH}/my-function", {})
    missing = {"__type": "ResourceNotFoundException", "Message": "Function not found"}
    lambda_api.answers(f"GET {PATH}/other/configuration", missing, status=404)
    lambda_api.answers(f"GET {PATH}/other", {"Configuration": {"State": "Active"}})
    lambda_api.requests.clear()

    (folder / "function.json").write_text('{"FunctionName": "other"}')
    watch.seed_functions()

    assert writes(lambda_api) == [f"DELETE {PATH}/my-function", f"POST {PATH}"]


@pytest.mark.parametrize("code", ["ResourceAlreadyExistsException", "ResourceInUseException"])
def test_a_resource_that_is_there_already_is_no_failure(lambda_api: Server, root: Path, code: str) -> None:
    groups = [{"logGroupName": "/a"}]
    (root / "config/aws.json").write_text(json.dumps({"logs": {"create_log_group": groups}}))
    lambda_api.answers("POST /", {"__type": code}, status=400)
    watch.seed()
    assert account.read(os.environ)["failures"] == {}

    lambda_api.answers("POST /", {"__type": "LimitExceededException"}, status=400)
    watch.seed()
    assert account.read(os.environ)["failures"] == {}, "a call that was made is made again"

    (root / "config/aws.json").write_text('{"logs": {"create_log_group": [{"logGroupName": "/b"}]}}')
    watch.seed()
    assert "LimitExceededException" in account.read(os.environ)["failures"]["aws.json"]

    watch.seed_functions()
    assert list(account.read(os.environ)["failures"]) == ["aws.json"]
