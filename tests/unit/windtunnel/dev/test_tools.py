import sys
from pathlib import Path

import pytest

from windtunnel.compose.stack import ComposeStack
from windtunnel.dev import tools
from windtunnel.stack.errors import StackError

from ..stand_ins.docker import Docker

UV = """#!{python}
import fcntl, pathlib, sys

with open("{exclusive}") as lock:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = "not held"
    except BlockingIOError:
        held = "held"
with pathlib.Path(__file__).with_name("calls").open("a") as calls:
    print("lock", held + ":", *sys.argv[1:], file=calls)
print("no network")
sys.exit({exit_code})
"""
PYTHON = sys.executable


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of this process, with a uv that notes how it was called; and a lock file."""
    prefix = tmp_path / ".windtunnel/venv"
    (prefix / "bin").mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "executable", str(prefix / "bin/python"))
    monkeypatch.setattr(tools, "LOCK", tmp_path / "dev.txt")
    monkeypatch.setattr(tools, "EXCLUSIVE", tmp_path / ".windtunnel/venv.lock")
    tools.LOCK.write_text("pytest==9.2.0\n")
    uv(prefix)
    return prefix


def uv(prefix: Path, exit_code: int = 0) -> None:
    program = prefix / "bin/uv"
    program.write_text(UV.format(python=PYTHON, exclusive=tools.EXCLUSIVE, exit_code=exit_code))
    program.chmod(0o755)


def calls(prefix: Path) -> list[str]:
    return (prefix / "bin/calls").read_text().splitlines()


def test_the_tools_are_installed_once(prefix: Path) -> None:
    said: list[str] = []

    tools.install(said.append)
    tools.install(said.append)

    options = f"--python {prefix}/bin/python --require-hashes --requirement {tools.LOCK}"
    assert calls(prefix) == [f"lock held: --quiet pip install {options}"]
    assert len(said) == 1


def test_a_changed_lock_file_installs_them_again(prefix: Path) -> None:
    tools.install(lambda _: None)
    tools.LOCK.write_text("pytest==9.3.0\n")

    tools.install(lambda _: None)

    assert len(calls(prefix)) == 2
    assert (prefix / "tools.txt").read_text() == "pytest==9.3.0\n"


def test_an_environment_that_was_made_again_gets_them_again(prefix: Path) -> None:
    tools.install(lambda _: None)
    (prefix / "tools.txt").unlink()

    tools.install(lambda _: None)

    assert len(calls(prefix)) == 2


def test_a_failure_is_told_and_tried_again_the_next_time(prefix: Path) -> None:
    uv(prefix, exit_code=1)
    with pytest.raises(StackError, match=r"uv pip install .*\nno network\nCheck the network"):
        tools.install(lambda _: None)

    uv(prefix)
    tools.install(lambda _: None)

    assert (prefix / "tools.txt").exists()


def test_a_browser_that_is_there_is_taken(compose: ComposeStack, docker: Docker) -> None:
    said: list[str] = []
    (Path(docker.path) / "chromium").touch(mode=0o755)

    tools.get_browser(compose, said.append)

    assert said == []
