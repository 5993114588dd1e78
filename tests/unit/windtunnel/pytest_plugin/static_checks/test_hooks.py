"""``--windtunnel-check`` in pytest sessions of their own, with stand-ins for the checks."""

import xml.etree.ElementTree
from pathlib import Path

import pytest

from ..repository import Repository


class Checked(Repository):
    """A repository whose checks are stand-ins."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Path(__file__).with_name("checks_stand_in.py"), WINDTUNNEL_ENGINE="local")
        (path / "test_it.py").write_text("def test_it():\n    pass\n")

    @property
    def found(self) -> list[str]:
        """The time budget of each time that checks were looked for."""
        return (self.path / "found.txt").read_text().split()


@pytest.fixture
def repository(tmp_path: Path) -> Checked:
    return Checked(tmp_path)


def test_checks_are_run_in_place_of_tests(repository: Checked) -> None:
    result = repository.new_pytest("--windtunnel-check", "-rA")

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


def test_a_failed_check_says_what_is_wrong_and_nothing_of_how_it_is_checked(repository: Checked) -> None:
    result = repository.pytest("--windtunnel-check", "-q", "-rN", "-k", "requirements")

    header, _, said = result.stdout.partition(" requirements.txt resolves ")
    assert "FAILURES" in header
    assert said.splitlines()[1:-1] == ["they do not"]


def test_some_are_picked_by_the_name_of_their_file(repository: Checked) -> None:
    result = repository.pytest("--windtunnel-check", "-v", "-k", "lambdas or b.py")

    assert result.returncode == 0
    assert "lambdas/count::imports PASSED" in result.stdout
    assert "dags/b.py::parses SKIPPED" in result.stdout
    assert "2 deselected" in result.stdout


def test_junit_has_them_all(repository: Checked) -> None:
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


def test_workers_of_xdist_are_not_started_for_checks(repository: Checked) -> None:
    result = repository.pytest("--windtunnel-check", "-n", "2")

    assert "2 failed, 1 passed, 1 skipped" in result.stdout
    assert repository.found == ["5.0"]


@pytest.mark.parametrize(("seconds", "budget"), [(2, ["2"]), (0.5, ["0.5"])])
def test_the_time_budget_is_the_repositorys(repository: Checked, seconds: float, budget: list[str]) -> None:
    repository.configure(f"dag_time_budget = {seconds}")

    repository.pytest("--windtunnel-check")

    assert repository.found == budget


@pytest.mark.parametrize(("seconds", "said"), [('"5 s"', "'5 s'"), ("0", "0"), ("true", "True")])
def test_a_time_budget_that_is_none_is_named(repository: Checked, seconds: str, said: str) -> None:
    repository.configure(f"dag_time_budget = {seconds}")

    result = repository.pytest("--windtunnel-check")

    assert result.returncode != 0
    assert f"dag_time_budget = {said} is not a number of seconds" in result.stdout
    assert "Traceback" not in result.stdout


def test_what_keeps_checks_from_being_found_is_named(repository: Checked) -> None:
    result = repository.pytest("--windtunnel-check", BROKEN="yes")

    assert result.returncode != 0
    assert "the requirements cannot be read" in result.stdout
    assert "Traceback" not in result.stdout


def test_without_the_option_tests_are_run_and_nothing_heavy_is_imported(repository: Checked) -> None:
    result = repository.new_pytest()

    assert "1 passed" in result.stdout
    assert (repository.path / "heavy.txt").read_text() == ""
