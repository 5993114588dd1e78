"""The launcher: what it does before the command line runs."""

import ast
import os
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

LAUNCHER = Path(__file__).parents[2] / "windtunnel"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing but the launcher and a lock file."""
    shutil.copy(LAUNCHER, tmp_path / "windtunnel")
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/dev.txt").write_text("rich==15.0.0\n")
    return tmp_path


@pytest.fixture
def launcher(checkout: Path) -> ModuleType:
    loader = SourceFileLoader("launcher", str(checkout / "windtunnel"))
    spec = spec_from_loader("launcher", loader)
    assert spec
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def environment(checkout: Path, lock: str = "rich==15.0.0\n") -> None:
    """An installed environment whose Python says how it was called."""
    python = checkout / ".windtunnel/venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$PYTHONPATH" "$@"\nexit 7\n')
    python.chmod(0o755)
    (checkout / ".windtunnel/venv/installed.txt").write_text(lock)


def test_every_python_3_can_read_it() -> None:
    ast.parse(LAUNCHER.read_text(), feature_version=(3, 4))


def test_it_becomes_the_command_line_of_the_prepared_environment(checkout: Path) -> None:
    environment(checkout)

    result = subprocess.run(
        [sys.executable, checkout / "windtunnel", "run", "a b"], capture_output=True, text=True, check=False
    )

    assert result.stdout == f"{checkout}/src -P -m windtunnel run a b\n"
    assert result.stderr == ""
    assert result.returncode == 7


def test_the_environment_is_made_once(
    checkout: Path, launcher: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []

    def run(*command: str) -> None:
        commands.append(" ".join(command))
        if "venv --clear" in commands[-1]:
            shutil.rmtree(launcher.VENV, ignore_errors=True)
            environment(checkout, lock="")

    monkeypatch.setattr(launcher, "run", run)
    monkeypatch.setattr(launcher, "require_ensurepip", lambda: None)

    assert not launcher.is_installed()
    launcher.install()
    assert launcher.is_installed()
    launcher.install()

    venv, bootstrap, sync = commands
    assert venv.endswith(f"-m venv --clear {checkout}/.windtunnel/venv")
    assert "--require-hashes" in bootstrap
    assert bootstrap.endswith("locks/uv.txt")
    assert "--require-hashes" in sync
    assert sync.endswith("locks/dev.txt")


def test_a_changed_lock_file_or_a_lost_python_makes_it_anew(checkout: Path, launcher: ModuleType) -> None:
    environment(checkout)
    assert launcher.is_installed()

    (checkout / "locks/dev.txt").write_text("rich==16.0.0\n")
    assert not launcher.is_installed()

    (checkout / "locks/dev.txt").write_text("rich==15.0.0\n")
    (checkout / ".windtunnel/venv/bin/python").unlink()
    assert not launcher.is_installed()


def test_a_failing_command_ends_it_with_what_that_said(
    launcher: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        launcher.run("sh", "-c", "echo no network; exit 1")

    assert caught.value.code == 2
    assert "no network" in capsys.readouterr().err


# Old Pythons


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """This Python is too old, and there is only one folder to look for another."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(sys, "version_info", (3, 8, 1))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


def python(path: Path, exit_code: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    path.chmod(0o755)


def test_an_old_python_says_so(launcher: ModuleType, old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        launcher.main()

    assert caught.value.code == 2
    assert "needs Python 3.11 or newer; this is 3.8" in capsys.readouterr().err


def test_an_old_python_hands_over_to_a_newer_one(
    launcher: ModuleType, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python(old / "python3.13", exit_code=127)  # as a shim does whose version is not active
    python(old / "python3.12")
    executed: list[list[str]] = []

    def execv(program: str, arguments: list[str]) -> None:
        executed.append(arguments)
        raise SystemExit

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(sys, "argv", ["windtunnel", "status"])

    with pytest.raises(SystemExit):
        launcher.main()

    assert executed == [[str(old / "python3.12"), os.path.join(launcher.ROOT, "windtunnel"), "status"]]


def test_a_python_of_pyenv_is_found(launcher: ModuleType, old: Path, tmp_path: Path) -> None:
    python(tmp_path / ".pyenv/versions/3.11.7/bin/python3.11")
    python(tmp_path / ".pyenv/versions/3.13.0/bin/python3.13")

    assert launcher.newer_python() == str(tmp_path / ".pyenv/versions/3.13.0/bin/python3.13")


# Debian without python3-venv


def test_without_ensurepip_a_user_is_told_what_to_install(
    launcher: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(SystemExit):
        launcher.require_ensurepip()

    assert f"sudo apt-get install python3.{sys.version_info[1]}-venv" in capsys.readouterr().err


def test_without_ensurepip_root_on_debian_gets_it_installed(
    launcher: ModuleType, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python(old / "apt-get")
    monkeypatch.setenv("PATH", f"{old}:/usr/bin:/bin")
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    commands: list[str] = []
    monkeypatch.setattr(launcher, "run", lambda *command: commands.append(" ".join(command)))

    launcher.require_ensurepip()

    assert commands[-1].endswith("apt-get -qq install -y python3.8-venv")
