"""The plugin in pytest sessions of their own, with a stack that stands in for a real one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from windtunnel.engine import ROOT

# In place of a real stack: what was asked of it stands in `asked.txt`.
CONFTEST = """
import os
from pathlib import Path
from types import SimpleNamespace

from windtunnel import prepare, pytest_plugin, testing
from windtunnel.engine import EngineError

ASKED = Path(__file__).with_name("asked.txt")

class Engine:
    def __init__(self, project):
        self.project = project
    def is_running(self, service):
        lines = ASKED.read_text().splitlines() if ASKED.exists() else []
        return [line for line in lines if line.endswith(self.project)][-1:] == [f"up {self.project}"]
    def up(self):
        self.ask("up")
        if "BROKEN" in os.environ:
            raise EngineError("scheduler ended with exit code 1", "No module named x", "./windtunnel logs")
    def down(self, volumes):
        self.ask("down")
    def ask(self, what):
        with ASKED.open("a") as asked:
            asked.write(f"{what} {self.project}\\n")
    def write_logs(self, folder):
        folder.mkdir()
        (folder / "scheduler.log").write_text("the scheduler's")

def engine(session, project):
    session._settings()
    return Engine(project)

pytest_plugin.Session.engine = engine
prepare.check = prepare.parts = lambda *_: None
testing.Stack.airflow = SimpleNamespace(
    failures=lambda run: ["count, try 1, failed:", *["  step"] * 9, "  ValueError: bad", "other"],
    import_errors=lambda: [],
)
"""

TEST = """
from types import SimpleNamespace

def test_it(windtunnel):
    windtunnel.runs.append(SimpleNamespace(dag_id="mine", dag_run_id="run-1"))
    assert OUTCOME

def test_another(windtunnel):
    pass

def test_without():
    pass
"""


class Repository:
    """A user's repository, in which pytest is run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "conftest.py").write_text(CONFTEST)
        (path / "pyproject.toml").write_text("[tool.windtunnel]\n")
        self.test("True")

    def test(self, outcome: str) -> None:
        (self.path / "test_it.py").write_text(TEST.replace("OUTCOME", outcome))

    def pytest(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "pytest", "-p", "windtunnel.pytest_plugin", "-p", "no:cacheprovider"]
        variables = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
        return subprocess.run(
            [*command, *arguments], cwd=self.path, env=variables, capture_output=True, text=True, timeout=60
        )

    @property
    def asked(self) -> list[str]:
        """What was asked of the stack: the verb, and whether the project was this session's own."""
        file = self.path / "asked.txt"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_one_stack_serves_a_session_and_is_gone_afterwards(repository: Repository) -> None:
    result = repository.pytest()

    assert result.returncode == 0, result.stdout
    up, down = repository.asked
    assert up.split()[0] == "up"
    assert down == up.replace("up", "down")
    assert list((repository.path / ".windtunnel" / "projects").iterdir()) == []


def test_tests_that_want_no_stack_start_none(repository: Repository) -> None:
    assert repository.pytest("-k", "without").returncode == 0
    assert repository.asked == []


def test_a_kept_stack_is_taken_again(repository: Repository) -> None:
    repository.pytest("--windtunnel-keep")
    repository.pytest("--windtunnel-reuse")

    assert [line.split()[0] for line in repository.asked] == ["up"]

    assert repository.pytest("--windtunnel-stop").returncode == 0
    assert [line.split()[0] for line in repository.asked] == ["up", "down"]


def test_a_stack_that_does_not_start_ends_the_session_and_is_removed(repository: Repository) -> None:
    result = repository.pytest(BROKEN="1")

    assert result.returncode == 1
    for said in ("the stack does not start", "scheduler ended with exit code 1", "No module named x"):
        assert said in result.stdout + result.stderr
    assert "./windtunnel" not in result.stdout + result.stderr
    assert [line.split()[0] for line in repository.asked] == ["up", "down"]
    (log,) = (repository.path / ".windtunnel" / "evidence").glob("*/start/scheduler.log")
    assert log.read_text() == "the scheduler's"


def test_a_failed_test_says_why_its_runs_failed_and_where_the_rest_is(repository: Repository) -> None:
    repository.test("False")

    result = repository.pytest()

    assert result.returncode == 1
    assert (
        f"mine run-1:\ncount, try 1, failed:\n{'  step\n' * 9}  ValueError: bad\nall of it: " in result.stdout
    )
    (folder,) = (repository.path / ".windtunnel" / "evidence").glob("*/test_it")
    assert (folder / "services" / "scheduler.log").read_text() == "the scheduler's"
    assert "ValueError: bad" in (folder / "runs.txt").read_text()


def test_what_a_killed_session_has_left_is_removed_by_the_next(repository: Repository) -> None:
    repository.pytest()
    own = repository.asked[0].split()[1]
    gone, alive = f"{own.rpartition('-')[0]}-99999999", f"{own.rpartition('-')[0]}-{os.getpid()}"
    projects = repository.path / ".windtunnel" / "projects"
    for project in (gone, alive):
        (projects / project).touch()

    repository.pytest()

    assert f"down {gone}" in repository.asked
    assert [path.name for path in projects.iterdir()] == [alive]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            'dag = "dags"',
            "dag; there are: dags, lambdas, custom, config, requirements, aws, dag_time_budget, engine",
        ),
        ('lambdas = "functions"', "lambdas = 'functions' is not there"),
    ],
)
def test_a_wrong_setting_is_named(repository: Repository, setting: str, said: str) -> None:
    (repository.path / "pyproject.toml").write_text(f"[tool.windtunnel]\n{setting}\n")

    result = repository.pytest()

    assert result.returncode != 0
    assert said in result.stdout + result.stderr
