"""The suite itself: looking at its tests starts nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from windtunnel.compose import ROOT


@pytest.mark.parametrize("floor", ["e2e", "faults"])
def test_collecting_starts_nothing(tmp_path: Path, floor: str) -> None:
    """There is no engine, and the command `docker` tells on its caller."""
    called = tmp_path / "called"
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$*" >>{called}\nexit 1\n')
    docker.chmod(0o755)

    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", f"tests/{floor}"],
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
