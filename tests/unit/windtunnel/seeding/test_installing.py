"""Requirements are installed by the real uv, from a folder of wheels."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from windtunnel.seeding import functions, installing, watch
from windtunnel.seeding.validation import SeedingError
from windtunnel.stack.settings import ROOT

from ..stand_ins.package_index import make_wheel
from ..stand_ins.web_server import Server
from .conftest import HANDLER, PATH, made, writes
from .test_packaging import names


@pytest.fixture
def requirements(folder: Path) -> Path:
    return folder / "requirements.txt"


def package(root: Path, folder: Path) -> list[str]:
    return names(made(root).function(functions.load_function(folder)))


def test_what_is_required_is_in_the_package_once_and_without_scripts(
    root: Path, folder: Path, requirements: Path
) -> None:
    make_wheel(root, "first", requires="second>=1")
    make_wheel(root, "second")
    requirements.write_text("# what it needs\n\nfirst\n")

    found = package(root, folder)

    assert {"first.py", "second.py", "lambda_function.py", "airflow_relay/__init__.py"} <= set(found)
    assert not [name for name in found if name.startswith(("bin/", ".lock")) or "__pycache__" in name]
    assert len(found) == len(set(found))


def test_equal_requirements_are_installed_once(root: Path, folder: Path, requirements: Path) -> None:
    make_wheel(root, "first")
    requirements.write_text("first\n")
    before = package(root, folder)
    shutil.rmtree(root / "index/first")

    other = root / "lambdas/other"
    other.mkdir()
    (other / "lambda_function.py").write_text(HANDLER)
    (other / "requirements.txt").write_text("first\n")

    assert package(root, other) == package(root, folder) == before
    requirements.write_text("first==1.0\n")
    with pytest.raises(SeedingError, match="first"):
        package(root, folder)


def test_a_change_of_what_is_included_is_a_change(root: Path, folder: Path, requirements: Path) -> None:
    for version in ("1.0", "2.0"):
        make_wheel(root, "first", version)
    shared = root / "lambdas/_shared"
    shared.mkdir()
    (shared / "common.txt").write_text("first\n")
    (shared / "versions.txt").write_text("first<2\n")
    requirements.write_text("-r ../_shared/common.txt\n-c ../_shared/versions.txt\n")
    assert "first-1.0.dist-info/METADATA" in package(root, folder)

    (shared / "versions.txt").write_text("")
    assert "first-2.0.dist-info/METADATA" in package(root, folder)

    (shared / "common.txt").write_text("absent\n")
    with pytest.raises(SeedingError, match=r"^lambdas/_shared/common\.txt, line 1: .*absent"):
        package(root, folder)


def test_a_file_of_the_function_goes_before_one_of_its_requirements(
    root: Path, folder: Path, requirements: Path
) -> None:
    make_wheel(root, "first")
    requirements.write_text("first\n")
    (folder / "first.py").write_text("VERSION = 'mine'\n")

    found = package(root, folder)

    assert found.count("first.py") == 1
    assert "first-1.0.dist-info/METADATA" in found


@pytest.mark.bad_input(54)
def test_hashes_are_honoured(root: Path, folder: Path, requirements: Path) -> None:
    digest = make_wheel(root, "first")
    make_wheel(root, "second")
    requirements.write_text(f"first==1.0 \\\n    --hash=sha256:{digest}\n")
    assert "first.py" in package(root, folder)

    requirements.write_text(f"\nfirst==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(SeedingError, match=r"^lambdas/my_function/requirements\.txt, line 2: .*[Hh]ash"):
        package(root, folder)

    requirements.write_text(f"first==1.0 --hash=sha256:{digest}\nsecond==1.0\n")
    with pytest.raises(SeedingError, match=r"requirements\.txt, line 2: .*second"):
        package(root, folder)


@pytest.mark.bad_input(52, 53, 56)
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("first\n\nfrist\n", r"requirements\.txt, line 3: .*frist was not found.* Correct the line"),
        ("first==9\n", r"requirements\.txt, line 1: .*no version of first==9"),
        ("first\n# é\nfirst=>2\n", r"requirements\.txt, line 3: .*no such comparison operator"),
        ("first<2\nsecond\n", r"line 1 and lambdas/my_function/requirements\.txt, line 2: "),
        ("first\n-r nothing.txt\n", r"^lambdas/my_function/requirements\.txt: .*nothing\.txt cannot be read"),
        ("-r ../../outside.txt\n", r"includes outside\.txt, which is outside of lambdas/: move that"),
        ("compiled\n", r"requirements\.txt, line 1: .*compiled"),
    ],
)
def test_what_cannot_be_installed_is_named_with_its_line(
    root: Path, folder: Path, requirements: Path, text: str, problem: str
) -> None:
    make_wheel(root, "first")
    make_wheel(root, "second", requires="first>=2")
    make_wheel(root, "compiled", tag="cp27-cp27m-win32")
    (root / "outside.txt").write_text("first\n")
    requirements.write_text(text)

    with pytest.raises(SeedingError, match=problem) as raised:
        package(root, folder)

    assert "\n" not in str(raised.value)


@pytest.mark.bad_input(55)
def test_without_a_network_the_line_is_named_too(
    root: Path, folder: Path, requirements: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing listens there.
    monkeypatch.setenv("INSTALLER_UV_DEFAULT_INDEX", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("INSTALLER_UV_HTTP_RETRIES", "0")
    requirements.write_text("first\n")

    with pytest.raises(
        SeedingError, match=r"requirements\.txt, line 1: .*index does not answer: check network"
    ):
        package(root, folder)


def test_uv_gets_what_is_meant_for_it_alone(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    variables = {
        "PACKAGES_FOLDER": "/packages",
        "LAMBDA_RUNTIME_PYTHON": "/python",
        "UV": "/uv",
        "AWS_SECRET_ACCESS_KEY": "test",
        "INSTALLER_HTTPS_PROXY": "http://proxy:3128",
        "INSTALLER_UV_INDEX": "",
        "INSTALLER_SSL_CERT_FILE": str(bundle),
    }

    def given() -> dict[str, Any]:
        found = installing.Installer.of(variables, print).variables
        assert not {"AWS_SECRET_ACCESS_KEY", "UV_INDEX", "UV"} & set(found)
        return dict(found)

    assert given()["HTTPS_PROXY"] == "http://proxy:3128"
    bundle.touch()
    assert "SSL_CERT_FILE" not in given(), "an empty bundle trusts nobody"
    bundle.write_text("a certificate")
    assert given()["SSL_CERT_FILE"] == str(bundle)


def test_another_process_is_answered(root: Path) -> None:
    make_wheel(root, "first")
    command = [sys.executable, "-m", "windtunnel.seeding.installing"]

    def ask(requirement: str) -> "subprocess.CompletedProcess[str]":
        asked = json.dumps([[["a.txt, line 1", requirement]], "", "python/"])
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        return subprocess.run(
            command, input=asked, env=environment, capture_output=True, text=True, check=False
        )

    assert "python/first.py" in names(base64.b64decode(ask("first").stdout))
    failed = ask("absent")
    assert failed.returncode == 1
    assert failed.stderr.startswith("a.txt, line 1: ")


def test_a_function_whose_requirements_fail_keeps_its_last_code_and_no_other_waits(
    lambda_api: Server, root: Path, requirements: Path
) -> None:
    make_wheel(root, "first")
    requirements.write_text("frist\n")
    other = root / "lambdas/other"
    other.mkdir()
    (other / "lambda_function.py").write_text(HANDLER)
    missing = {"__type": "ResourceNotFoundException", "Message": "Function not found"}
    lambda_api.answers(f"GET {PATH}/other/configuration", missing, status=404)
    lambda_api.answers(f"GET {PATH}/other", {"Configuration": {"State": "Active"}})

    assert list(watch.seed_functions()) == ["my_function"]
    assert writes(lambda_api) == [f"POST {PATH}"]

    requirements.write_text("first\n")
    assert watch.seed_functions(["my_function"]) == {}


def test_files_are_named_as_localstack_has_them(root: Path, requirements: Path) -> None:
    """On the local engine its folder is a link to the user's, which may have another name."""
    requirements.write_text("absent\n")
    (root / "lambdas").rename(root / "my-functions")
    (root / "lambdas").symlink_to("my-functions")

    with pytest.raises(SeedingError, match=r"^lambdas/my_function/requirements\.txt, line 1: No solution"):
        made(root).installed(root / "lambdas/my_function", root / "lambdas")
