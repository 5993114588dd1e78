"""``--windtunnel-check`` in pytest sessions of their own, with checks that stand in for real ones."""

import os
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import pytest

from windtunnel.stack.settings import ROOT

# In place of real checks: which were made, and with which time budget, stands in `found.txt`.
CONFTEST = """
import sys
from pathlib import Path

import pytest

def pytest_configure(config):
    if not config.getoption("windtunnel_check"):
        return
    from windtunnel.pytest_plugin import session
    from windtunnel.pytest_plugin.static_checks import checks
    from windtunnel.stack.errors import StackError

    def find(self, say):
        with Path("found.txt").open("a") as found:
            found.write(f"{self._time_budget}\\n")
        say("installing airflow")
        if BROKEN:
            raise StackError("the requirements cannot be read")
        return [
            checks.Check("requirements.txt", "resolves", fail(checks.CheckFailed("they do not"))),
            checks.Check("lambdas/count", "imports", lambda: print("fine")),
            checks.Check("dags/a.py", "parses", fail(StackError("no Airflow"))),
            checks.Check("dags/b.py", "parses", fail(checks.CheckImpossible("it takes a stack"))),
        ]

    def fail(error):
        def require():
            raise error
        return require

    checks.Checks.find = find
    session.Session.named = SETTINGS

def pytest_sessionfinish():
    checks = "windtunnel.pytest_plugin.static_checks.checks"
    Path("heavy.txt").write_text(str(checks in sys.modules or "boto3" in sys.modules))
"""


class Repository:
    """A user's repository, in which pytest is run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "pyproject.toml").touch()
        (path / "test_it.py").write_text("def test_it():\n    pass\n")

    def pytest(
        self, *arguments: str, broken: bool = False, settings: dict[str, object] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        conftest = CONFTEST.replace("BROKEN", str(broken)).replace("SETTINGS", repr(settings or {}))
        (self.path / "conftest.py").write_text(conftest)
        plugins = ["-p", "windtunnel.pytest_plugin"]
        return subprocess.run(
            [sys.executable, "-m", "pytest", *plugins, "-p", "no:cacheprovider", *arguments],
            cwd=self.path,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "WINDTUNNEL_ENGINE": "local"},
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def found(self) -> list[str]:
        """The time budget of each time that checks were looked for."""
        return (self.path / "found.txt").read_text().split()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_checks_are_run_in_place_of_tests(repository: Repository) -> None:
    result = repository.pytest("--windtunnel-check", "-rA")

    assert result.returncode == 1
    for said in (
        "installing airflow",
        "FAILED requirements.txt::resolves - they do not",
        "PASSED lambdas/count::imports",
        "FAILED dags/a.py::parses - no Airflow",
        "it takes a stack",
        "2 failed, 1 passed, 1 skipped",
    ):
        assert said in result.stdout
    assert "test_it" not in result.stdout


def test_a_failed_check_says_what_is_wrong_and_nothing_of_how_it_is_checked(repository: Repository) -> None:
    result = repository.pytest("--windtunnel-check", "-q", "-rN", "-k", "requirements")

    header, _, said = result.stdout.partition(" requirements.txt resolves ")
    assert "FAILURES" in header
    assert said.splitlines()[1:-1] == ["they do not"]


def test_some_are_picked_by_the_name_of_their_file(repository: Repository) -> None:
    result = repository.pytest("--windtunnel-check", "-v", "-k", "lambdas or b.py")

    assert result.returncode == 0
    assert "lambdas/count::imports PASSED" in result.stdout
    assert "dags/b.py::parses SKIPPED" in result.stdout
    assert "2 deselected" in result.stdout


def test_junit_has_them_all(repository: Repository) -> None:
    repository.pytest("--windtunnel-check", "--junit-xml", "report.xml")

    cases = xml.etree.ElementTree.parse(repository.path / "report.xml").iter("testcase")  # noqa: S314
    outcomes = {
        f"{case.get('classname')} {case.get('name')}": [outcome.tag for outcome in case] for case in cases
    }
    assert outcomes == {
        "requirements.txt resolves": ["failure"],
        "lambdas.count imports": [],
        "dags.a parses": ["failure"],
        "dags.b parses": ["skipped"],
    }


def test_workers_of_xdist_are_not_started_for_checks(repository: Repository) -> None:
    result = repository.pytest("--windtunnel-check", "-n", "2")

    assert "2 failed, 1 passed, 1 skipped" in result.stdout
    assert repository.found == ["5.0"]


@pytest.mark.parametrize(("seconds", "budget"), [(2, ["2"]), (0.5, ["0.5"])])
def test_the_time_budget_is_the_repositorys(
    repository: Repository, seconds: float, budget: list[str]
) -> None:
    repository.pytest("--windtunnel-check", settings={"dag_time_budget": seconds})

    assert repository.found == budget


@pytest.mark.parametrize("seconds", ["5 s", 0, True])
def test_a_time_budget_that_is_none_is_named(repository: Repository, seconds: object) -> None:
    result = repository.pytest("--windtunnel-check", settings={"dag_time_budget": seconds})

    assert result.returncode != 0
    assert f"dag_time_budget = {seconds!r} is no number of seconds" in result.stdout


def test_what_keeps_checks_from_being_found_is_named(repository: Repository) -> None:
    result = repository.pytest("--windtunnel-check", broken=True)

    assert result.returncode != 0
    assert "the requirements cannot be read" in result.stdout
    assert "Traceback" not in result.stdout


def test_without_the_option_tests_are_run_and_nothing_heavy_is_imported(repository: Repository) -> None:
    result = repository.pytest()

    assert "1 passed" in result.stdout
    assert (repository.path / "heavy.txt").read_text() == "False"
