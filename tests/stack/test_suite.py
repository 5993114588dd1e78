"""The suite itself: looking at its tests starts nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from windtunnel.stack.settings import ROOT


def local_stacks() -> set[Path]:
    return set((ROOT / ".windtunnel" / "local").glob("*"))


@pytest.mark.parametrize(
    ("floor", "engine"),
    [
        ("compose", "compose"),
        ("e2e", "compose"),
        ("e2e", "local"),
        ("faults", "compose"),
        ("faults", "local"),
    ],
)
def test_collecting_starts_nothing(tmp_path: Path, floor: str, engine: str) -> None:
    """There is no engine, and the command `docker` keeps a record of its calls."""
    called = tmp_path / "called"
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$*" >>{called}\nexit 1\n')
    docker.chmod(0o755)

    before = local_stacks()

    pytest_command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    answer = subprocess.run(
        [*pytest_command, "--collect-only", "-q", "--windtunnel-engine", engine, f"tests/{floor}"],
        cwd=ROOT,
        env=os.environ
        | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DOCKER_HOST": f"unix://{tmp_path}/no-engine.sock"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "::test_" in answer.stdout
    assert not called.exists(), called.read_text()
    assert local_stacks() == before
