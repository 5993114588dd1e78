import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from windtunnel.stack.command import COMMAND
from windtunnel.stack.settings import ROOT

COMMANDS = ("up", "down", "status", "logs", "run", "deploy", "doctor")


def test_a_checkout_has_a_launcher() -> None:
    assert COMMAND == "./windtunnel"
    assert (ROOT / COMMAND).is_file()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installed package."""
    site = tmp_path_factory.mktemp("lib") / "python3" / "site-packages"
    shutil.copytree(
        ROOT / "src" / "windtunnel", site / "windtunnel", ignore=shutil.ignore_patterns("dev", "__pycache__")
    )
    return site


def said(site: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "windtunnel", *arguments]
    variables = {"PYTHONPATH": str(site), "COLUMNS": "200", "PATH": ""}
    return subprocess.run(command, cwd=site.parent, env=variables, capture_output=True, text=True)


def test_an_installed_package_has_every_command_but_those_of_this_project(site: Path) -> None:
    output = said(site, "--help").stdout

    assert all(f" {name} " in output for name in COMMANDS)
    assert not any(f" {name} " in output for name in ("test", "check", "bench"))


@pytest.mark.parametrize("name", COMMANDS)
def test_an_installed_package_names_its_command_as_it_is_called(site: Path, name: str) -> None:
    output = said(site, name, "--help").stdout

    assert f"Usage: windtunnel {name}" in output
    assert "./windtunnel" not in output


def test_an_installed_package_refuses_a_folder_that_is_no_repository(site: Path) -> None:
    result = said(site, "status")

    assert result.returncode == 2
    assert "pyproject.toml with [tool.windtunnel]" in result.stderr
