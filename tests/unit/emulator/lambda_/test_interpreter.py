"""Which functions the configured Python may run."""

import sys
from pathlib import Path

import pytest

from windtunnel_emulator.lambda_.interpreter import (
    Interpreter,
    InterpreterUnusable,
    RuntimeNotAvailable,
    inspect,
)

PYTHON = Interpreter(Path("/opt/lambda/bin/python"), "python3.13")


def test_inspect_finds_the_version() -> None:
    assert inspect(sys.executable).runtime == f"python3.{sys.version_info.minor}"


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        (None, "LAMBDA_RUNTIME_PYTHON is not set"),
        ("/no/such/python", "LAMBDA_RUNTIME_PYTHON=/no/such/python cannot run Lambda functions"),
        ("/bin/false", "LAMBDA_RUNTIME_PYTHON=/bin/false cannot run Lambda functions"),
    ],
)
def test_inspect_refuses(python: str | None, reason: str) -> None:
    with pytest.raises(InterpreterUnusable, match=reason):
        inspect(python)


def test_inspect_refuses_a_python_without_the_runtime_client(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(InterpreterUnusable, match="No module named 'awslambdaric'"):
        inspect(str(bare))


def test_require_accepts_its_own_runtime() -> None:
    PYTHON.require("python3.13", "f")


@pytest.mark.parametrize("runtime", ["python3.12", "nodejs22.x"])
def test_require_names_both_runtimes(runtime: str) -> None:
    with pytest.raises(RuntimeNotAvailable, match=f"Function f wants the runtime {runtime}.*only python3.13"):
        PYTHON.require(runtime, "f")


def test_require_refuses_container_images() -> None:
    with pytest.raises(RuntimeNotAvailable, match="container image"):
        PYTHON.require(None, "f")
