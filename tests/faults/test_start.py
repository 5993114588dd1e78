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
from windtunnel import engines
from windtunnel.engine import ROOT, Engine, ServiceFailed
from windtunnel.waiters import wait_until

LASTING_SERVICES = ["postgres", "localstack", "webserver", "scheduler", "dag-processor", "triggerer"]
# One test that needs no more than the stack.
A_TEST = "tests/e2e/test_config.py"


@pytest.fixture
def engine_name(pytestconfig: pytest.Config) -> str:
    return engines.choose(pytestconfig.getoption("--engine"), project="windtunnel-start").engine.name


@pytest.fixture
def other(tmp_path: Path, engine_name: str) -> Engine:
    """A stack that is not started yet."""
    return new_project("start", tmp_path, engine=engine_name)


def test_a_function_without_a_handler_is_named(other: Engine, tmp_path: Path) -> None:
    (tmp_path / "lambdas" / "empty_function").mkdir()

    with cleaned_up(other), pytest.raises(ServiceFailed) as failed:
        other.up()

    assert failed.value.service == "localstack"
    assert "lambdas/empty_function has no handler" in str(failed.value)


def pytest_in_a_process(engine: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--engine", engine, A_TEST],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def project_of(engine: str, inner: "subprocess.Popen[str]") -> Engine:
    """The project of a pytest of the e2e floor."""
    return engines.choose(engine, project=f"windtunnel-e2e-{inner.pid}").engine


def test_a_failed_start_leaves_all_logs_and_nothing_else(engine_name: str, tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    (config / "connections.json").write_text("no JSON")
    config.chmod(0o755)

    inner = pytest_in_a_process(engine_name, CONFIG_FOLDER=str(config))
    output, _ = inner.communicate(timeout=120)

    assert inner.returncode != 0
    engine = project_of(engine_name, inner)
    logs = {path.stem: path.read_text() for path in (EVIDENCE / engine.project).glob("*.log")}
    assert set(logs) >= {"init", *LASTING_SERVICES}
    assert "connections.json in the config folder is not JSON" in logs["init"]
    assert "init ended with exit code 2" in output
    assert leftovers(engine) == []


@pytest.fixture
def killed_pytest(engine_name: str) -> Iterator[Engine]:
    """The project of a pytest that was killed while its stack came up."""
    inner = pytest_in_a_process(engine_name)
    engine = project_of(engine_name, inner)

    def something() -> bool:
        return any(left.startswith(("container", "folder")) for left in leftovers(engine))

    wait_until("the first containers or processes", something, timeout=60)
    inner.send_signal(signal.SIGKILL)
    inner.communicate(timeout=60)
    yield engine
    remove_abandoned(engine_name)


def test_what_a_killed_pytest_leaves_is_removed_by_the_next(killed_pytest: Engine) -> None:
    assert leftovers(killed_pytest)

    remove_abandoned(killed_pytest.name)

    assert leftovers(killed_pytest) == []


def test_the_others_are_left_alone_by_that(stack: Stack) -> None:
    before = {service.name: service.id for service in stack.engine.services()}

    remove_abandoned(stack.engine.name)

    assert {service.name: service.id for service in stack.engine.services()} == before
