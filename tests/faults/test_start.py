"""A start that fails or is killed: the failing part is named, its logs are kept, nothing is left."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import EVIDENCE, Stack, cleaned_up, leftovers, new_project, remove_abandoned
from windtunnel.compose import ROOT, Compose, ServiceFailed
from windtunnel.waiters import wait_until

LASTING_SERVICES = ["postgres", "localstack", "webserver", "scheduler", "dag-processor", "triggerer"]
# One test that needs no more than the stack.
A_TEST = "tests/e2e/test_config.py"


@pytest.fixture
def other(tmp_path: Path) -> Compose:
    """A stack that is not started yet."""
    return new_project("start", tmp_path)


def test_a_function_without_a_handler_is_named(other: Compose, tmp_path: Path) -> None:
    (tmp_path / "lambdas" / "empty_function").mkdir()

    with cleaned_up(other), pytest.raises(ServiceFailed) as failed:
        other.up()

    assert failed.value.service == "localstack"
    assert "lambdas/empty_function has no handler" in str(failed.value)


def pytest_in_a_process(test: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_failed_start_leaves_all_logs_and_nothing_else(tmp_path: Path) -> None:
    """pytest-docker alone would leave the whole stack."""
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    (config / "connections.json").write_text("no JSON")
    config.chmod(0o755)

    inner = pytest_in_a_process(A_TEST, CONFIG_FOLDER=str(config))
    output, _ = inner.communicate(timeout=120)

    assert inner.returncode != 0
    project = f"windtunnel-e2e-{inner.pid}"
    logs = {path.stem: path.read_text() for path in (EVIDENCE / project).glob("*.log")}
    assert set(logs) == {"init", *LASTING_SERVICES}
    assert "connections.json in the config folder is not JSON" in logs["init"]
    assert 'service "init" didn\'t complete successfully' in output
    assert leftovers(project) == []


@pytest.fixture
def killed_pytest() -> Iterator[str]:
    """The project of a pytest that was killed while its stack came up."""
    inner = pytest_in_a_process(A_TEST)
    project = f"windtunnel-e2e-{inner.pid}"
    wait_until(
        "the first containers",
        lambda: any(left.startswith("container") for left in leftovers(project)),
        timeout=60,
    )
    inner.send_signal(signal.SIGKILL)
    inner.communicate(timeout=60)
    yield project
    remove_abandoned()


def test_what_a_killed_pytest_leaves_is_removed_by_the_next(killed_pytest: str) -> None:
    assert leftovers(killed_pytest)

    remove_abandoned()

    assert leftovers(killed_pytest) == []


def test_the_others_are_left_alone_by_that(stack: Stack) -> None:
    before = leftovers(stack.compose.project)

    remove_abandoned()

    assert leftovers(stack.compose.project) == before
