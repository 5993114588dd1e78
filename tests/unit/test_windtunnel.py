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
PYTHON = sys.executable


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing but the launcher and a lock file."""
    shutil.copy(LAUNCHER, tmp_path / "windtunnel")
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/cli.txt").write_text("rich==15.0.0\n")
    return tmp_path


@pytest.fixture
def launcher(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("HOME", str(checkout))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
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
    (checkout / ".windtunnel/venv/lib/python3.13").mkdir(parents=True)
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
    checkout: Path, launcher: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[str] = []

    def run(*command: str) -> None:
        commands.append(" ".join(command))
        if "venv --clear" in commands[-1]:
            shutil.rmtree(launcher.VENV, ignore_errors=True)
            environment(checkout, lock="")

    monkeypatch.setattr(launcher, "run", run)
    monkeypatch.setattr(launcher, "require_ensurepip", lambda: None)
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(link))

    assert not launcher.is_installed()
    launcher.install()
    assert launcher.is_installed()
    launcher.install()

    venv, bootstrap, sync = commands
    assert venv == f"{os.path.realpath(sys.executable)} -m venv --clear {checkout}/.windtunnel/venv"
    assert "--require-hashes" in bootstrap
    assert bootstrap.endswith("locks/uv.txt")
    assert "--require-hashes" in sync
    assert sync.endswith("locks/cli.txt")


def test_another_command_may_make_the_state_folder_meanwhile(
    checkout: Path, launcher: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that begin at once in a fresh clone: the other one is first by a moment."""
    make = os.makedirs

    def make_second(path: str, **options: bool) -> None:
        make(path)
        make(path, **options)

    monkeypatch.setattr(os, "makedirs", make_second)
    monkeypatch.setattr(launcher, "is_installed", lambda: True)

    launcher.install()


def test_a_changed_lock_file_or_a_lost_python_makes_it_again(checkout: Path, launcher: ModuleType) -> None:
    environment(checkout)
    assert launcher.is_installed()

    (checkout / "locks/cli.txt").write_text("rich==16.0.0\n")
    assert not launcher.is_installed()

    (checkout / "locks/cli.txt").write_text("rich==15.0.0\n")
    (checkout / ".windtunnel/venv/bin/python").unlink()
    assert not launcher.is_installed()


@pytest.mark.parametrize("version", ["3.11", "3.15"])
def test_an_environment_of_an_unsuitable_python_is_made_again(
    checkout: Path, launcher: ModuleType, version: str
) -> None:
    environment(checkout)
    library = checkout / ".windtunnel/venv/lib"
    (library / "python3.13").rename(library / f"python{version}")

    assert not launcher.is_installed()


def test_a_failing_command_ends_it_with_what_that_said(
    launcher: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        launcher.run("sh", "-c", "echo no network; exit 1")

    assert caught.value.code == 2
    assert "no network" in capsys.readouterr().err


# Pythons that will not do

# What a program called like a Python is: one of that version, to the questions of the launcher.
ANSWERS = """#!/bin/sh
exec {python} -I -c '
import sys
sys.version_info, sys.abiflags = {version}, "{flags}"
sys.modules["ensurepip"] = sys if {complete} else None
exec(sys.argv[3])' "$@"
"""


def python(path: Path, version: tuple[int, int] = (3, 13), complete: bool = True, flags: str = "") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(ANSWERS.format(python=PYTHON, version=version, complete=complete, flags=flags))
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """This Python is too old, and nothing else is on PATH, of pyenv or of uv; the folder that is PATH."""
    folder = tmp_path / "bin"
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", python(folder / "python3", (3, 8)))
    return folder


def test_where_no_python_will_do_it_says_how_to_get_one(
    launcher: ModuleType, old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python(old / "python3.11", (3, 11))
    python(old / "python3.12", (3, 15))  # not what its name says
    python(old / "python3.13", (3, 13), flags="t")  # without the GIL
    (old / "python3.14").mkdir()

    with pytest.raises(SystemExit) as caught:
        launcher.main()

    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("windtunnel: needs Python 3.12 to 3.14.\n")
    assert f"({old}/python3)" in said
    assert "pyenv install 3.13" in said


def test_an_installed_environment_does_for_any_python(
    checkout: Path, launcher: ModuleType, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(checkout)
    executed: list[str] = []
    monkeypatch.setattr(os, "execve", lambda program, *_: executed.append(program))

    launcher.main()

    assert executed == [launcher.PYTHON]


def test_it_hands_over_to_a_suitable_python(
    launcher: ModuleType, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suitable = python(old / "python3.12", (3, 12))
    executed: list[list[str]] = []

    def execv(program: str, arguments: list[str]) -> None:
        executed.append(arguments)
        raise SystemExit

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(sys, "argv", ["windtunnel", "status"])

    with pytest.raises(SystemExit):
        launcher.main()

    assert executed == [[suitable, os.path.join(launcher.ROOT, "windtunnel"), "status"]]


def test_a_suitable_python_stays(launcher: ModuleType, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python(old / "python3.13", (3, 13))
    monkeypatch.setattr(sys, "executable", python(old / "python3", (3, 12)))

    assert launcher.suitable_python() == sys.executable


def test_the_images_python_is_preferred_then_the_newest(launcher: ModuleType, old: Path) -> None:
    shim = old / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")  # as pyenv's does where that version is not active
    shim.chmod(0o755)

    found = []
    for version in ((3, 12), (3, 14), (3, 13)):
        python(old / f"python3.{version[1]}", version)
        found.append(launcher.suitable_python())

    assert found == [f"{old}/python3.12", f"{old}/python3.14", f"{old}/python3.13"]


def test_pythons_of_pyenv_and_of_uv_are_found(launcher: ModuleType, old: Path, checkout: Path) -> None:
    uv = checkout / ".local/share/uv/python"
    pyenv = checkout / ".pyenv/versions"
    found = []
    for path in (
        uv / "cpython-3.13.1-linux-x86_64-gnu/bin/python3.13",
        pyenv / "3.13.9/bin/python3.13",
        pyenv / "3.13.10/bin/python3.13",
    ):
        python(path)
        found.append((launcher.suitable_python(), str(path)))

    assert [chosen for chosen, _ in found] == [newest for _, newest in found]


def test_a_python_that_cannot_make_environments_comes_last(
    launcher: ModuleType, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", python(old / "python3", (3, 13), complete=False))
    python(old / "python3.13", (3, 13), complete=False)
    assert launcher.suitable_python() == sys.executable

    python(old / "python3.12", (3, 12))
    assert launcher.suitable_python() == str(old / "python3.12")


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
    (old / "apt-get").touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{old}:/usr/bin:/bin")
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    commands: list[str] = []
    monkeypatch.setattr(launcher, "run", lambda *command: commands.append(" ".join(command)))

    launcher.require_ensurepip()

    assert commands[-1].endswith(f"apt-get -qq install -y python3.{sys.version_info[1]}-venv")
