"""Sessions of another repository that fail, are killed, or have many runs at once; and what they leave."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import leftovers
from windtunnel.stack import choose
from windtunnel.stack.base import Stack
from windtunnel.stack.settings import ROOT, STATE_FOLDER
from windtunnel.waiting import wait_until

EXAMPLE = ROOT / "examples" / "hourly_summary"
SERVICES = {"init", "postgres", "localstack", "webserver", "scheduler", "dag-processor", "triggerer"}
# Seconds, for a start on two cores that have more to do.
PATIENCE = 240

# A DAG of no more than itself, and a test that runs it.
DAG = """
from airflow.sdk import DAG, task

with DAG("echo", schedule=None):
    @task
    def echo(params):
        print(f"this run has {params['number']}")
        return params["number"]
    echo()
"""
TEST = """
import pytest

@pytest.mark.parametrize("number", range({times}))
def test_each_run_has_its_own(run_dag, number):
    run = run_dag("echo", {{"number": number}})
    assert run.state == "success", run
    assert run.task("echo").xcom() == number
    assert f"this run has {{number}}" in run.task("echo").s3_log()
"""
PORT_IS_TAKEN = """
import pytest

@pytest.fixture(scope="session")
def windtunnel_settings():
    return {{"WEBSERVER_PORT": "{port}"}}
"""


class Repository:
    """Another repository, in which pytest is run."""

    def __init__(self, path: Path, engine: str) -> None:
        self.path = path
        self._engine = engine
        # Of all sessions so far.
        self._pids: list[int] = []
        for name, content in (("dags/echo.py", DAG), ("tests/test_echo.py", TEST.format(times=1))):
            (path / name).parent.mkdir()
            (path / name).write_text(content)
        (path / "lambdas").mkdir()
        (path / "pyproject.toml").write_text("[tool.windtunnel]\n")
        # The checkout's, as installing them is not what is tested here.
        (path / STATE_FOLDER / "venvs").mkdir(parents=True)
        for venv in (ROOT / STATE_FOLDER / "venvs").glob("*"):
            (path / STATE_FOLDER / "venvs" / venv.name).symlink_to(venv)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "pytest", "-p", "windtunnel.pytest_plugin", "-p", "no:cacheprovider"]
        process = subprocess.Popen(
            [*command, "--windtunnel-engine", self._engine, *arguments],
            cwd=self.path,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "WINDTUNNEL_IMAGE": image()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._pids.append(process.pid)
        return process

    def pytest(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a session."""
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, output

    def stacks(self) -> list[Stack]:
        """The stacks of all sessions, whether anything of them is left or not."""
        place = hashlib.sha256(str(self.path).encode()).hexdigest()[:8]
        state = self.path / STATE_FOLDER
        return [
            choose.choose(self._engine, project=f"pytest-{place}-{pid}", root=ROOT, state_folder=state).stack
            for pid in self._pids
        ]

    def left(self) -> list[str]:
        """What is there of any session: processes, containers, networks, volumes, folders, notes."""
        notes = [f"note {path.name}" for path in (self.path / STATE_FOLDER / "projects").glob("*")]
        return notes + [line for stack in self.stacks() for line in leftovers(stack)]

    @property
    def evidence(self) -> Path:
        """The folder of the logs of a start that has failed."""
        (folder,) = (self.path / STATE_FOLDER / "evidence").glob("*/start")
        return folder


def image() -> str:
    """What the names of the checkout's images begin with."""
    return os.environ.get("WINDTUNNEL_IMAGE", ROOT.name)


@pytest.fixture
def repository(pytestconfig: pytest.Config) -> Iterator[Repository]:
    stack = choose.choose(pytestconfig.getoption("windtunnel_engine"), project="windtunnel-any").stack
    # Not pytest's own folder for it: a path of a socket may have no more than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="windtunnel-") as folder:
        # Services have users of their own.
        Path(folder).chmod(0o755)
        repository = Repository(Path(folder), stack.engine)
        yield repository
        for stack in repository.stacks():
            stack.down(volumes=True)


# On Compose a start takes longer, and tests/faults/test_start.py has one that fails for its DAG.
@pytest.mark.rare("compose")
def test_a_broken_dag_ends_the_session_by_its_name(repository: Repository) -> None:
    (repository.path / "dags" / "broken.py").write_text(
        "from airflow.sdk import DAG\nimport no_such_module\n"
    )

    code, output = repository.pytest()

    assert code == 1
    assert "broken.py" in output
    assert "No module named 'no_such_module'" in output
    assert {path.stem for path in repository.evidence.glob("*.log")} >= SERVICES
    assert repository.left() == []


def test_a_taken_port_ends_the_session_by_its_number(repository: Repository) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (repository.path / "conftest.py").write_text(PORT_IS_TAKEN.format(port=port))

        code, output = repository.pytest()

    assert code == 1
    assert str(port) in output
    assert "in use" in output
    assert repository.left() == []


def test_requirements_that_do_not_exist_end_the_session_by_their_name(repository: Repository) -> None:
    (repository.path / "requirements.txt").write_text("windtunnel-no-such-package==1\n")
    # This venv is installed again, and must not be the checkout's.
    (repository.path / STATE_FOLDER / "venvs" / "airflow").unlink(missing_ok=True)

    code, output = repository.pytest()

    assert code == 1
    assert "windtunnel-no-such-package" in output
    assert repository.left() == []


def test_a_configuration_that_is_none_ends_the_session_by_its_file(repository: Repository) -> None:
    shutil.copytree(ROOT / "config", repository.path / "config")
    (repository.path / "config" / "connections.json").write_text("no JSON")

    code, output = repository.pytest()

    assert code == 1
    assert "connections.json in the config folder is not JSON" in output
    assert repository.left() == []


def test_after_a_killed_session_the_next_one_is_green_and_nothing_is_left(repository: Repository) -> None:
    killed = repository.start()

    def something() -> bool:
        return any(line.startswith(("container", "process")) for line in repository.left())

    wait_until("the first containers or processes", something, timeout=60)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    assert repository.left()

    code, output = repository.pytest()

    assert code == 0, output
    assert repository.left() == []


@pytest.mark.engine("local")
@pytest.mark.parametrize("runs", [20, pytest.param(100, marks=pytest.mark.rare)])
def test_runs_over_four_workers_do_not_meet(repository: Repository, runs: int) -> None:
    (repository.path / "tests" / "test_echo.py").write_text(TEST.format(times=runs))

    code, output = repository.pytest("-n", "4")

    assert code == 0, output
    assert f"{runs} passed" in output
    assert repository.left() == []
