"""What LocalStack's container has mounted, and an AWS that answers."""

import os
import sys
from pathlib import Path

import pytest

from windtunnel.local.venvs import uv_program
from windtunnel.seeding import watch
from windtunnel.seeding.installing import Installer
from windtunnel.seeding.packaging import Packages

from ..stand_ins.web_server import Server

HANDLER = "def lambda_handler(event, context): ...\n"
PATH = "/2015-03-31/functions"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is mounted into LocalStack's container: one function, the library, an empty config folder."""
    for name in ("lambdas/my_function", "airflow_relay", "config"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lambdas/my_function/lambda_function.py").write_text(HANDLER)
    (tmp_path / "airflow_relay/__init__.py").touch()
    monkeypatch.setattr(watch, "ROOT", tmp_path)
    for name, value in {
        "TMPDIR": str(tmp_path),
        "PACKAGES_FOLDER": str(tmp_path / "packages"),
        "LAMBDA_RUNTIME_PYTHON": sys.executable,
        "UV": str(uv_program()),
        "INSTALLER_UV_DEFAULT_INDEX": (tmp_path / "index").as_uri(),
        "INSTALLER_UV_CACHE_DIR": str(tmp_path / "uv"),
    }.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def folder(root: Path) -> Path:
    return root / "lambdas/my_function"


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


def made(root: Path) -> Packages:
    """The packages of what is mounted."""
    return Packages(root / "lambdas", root / "airflow_relay", Installer.of(os.environ, lambda line: None))


def writes(server: Server) -> list[str]:
    return [request for request, _ in server.requests if not request.startswith("GET")]
