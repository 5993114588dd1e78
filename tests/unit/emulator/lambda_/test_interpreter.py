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


def test_inspect_finds_the_version(python: Interpreter) -> None:
    assert inspect(str(python.python)).runtime == f"python3.{sys.version_info.minor}"


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


@pytest.mark.parametrize("strict", [True, False])
def test_require_accepts_its_own_runtime(strict: bool) -> None:
    assert PYTHON.require("python3.13", "f", strict=strict) == ""


def test_another_python_is_a_warning_that_names_both() -> None:
    warning = PYTHON.require("python3.9", "f", strict=False)
    assert "Function f wants the runtime python3.9 and runs on python3.13" in warning


@pytest.mark.parametrize(
    ("runtime", "strict"),
    [("python3.12", True), ("nodejs22.x", True), ("nodejs22.x", False), ("provided.al2023", False)],
)
def test_require_names_both_runtimes(runtime: str, strict: bool) -> None:
    with pytest.raises(RuntimeNotAvailable, match=f"Function f wants the runtime {runtime}.*only python3.13"):
        PYTHON.require(runtime, "f", strict=strict)


def test_require_refuses_container_images() -> None:
    with pytest.raises(RuntimeNotAvailable, match="container image"):
        PYTHON.require(None, "f", strict=False)
