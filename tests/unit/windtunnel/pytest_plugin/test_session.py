"""The plugin in pytest sessions of their own, with a stand-in for the stack."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .repository import Repository

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


class Example(Repository):
    """A user's repository with three tests, of which two use the stack."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Path(__file__).with_name("stack_stand_in.py"))
        self.test("True")

    def test(self, outcome: str) -> None:
        (self.path / "test_it.py").write_text(TEST.replace("OUTCOME", outcome))

    @property
    def asked(self) -> list[str]:
        """What the stack was asked: the verb, and the project."""
        file = self.path / "asked.txt"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def verbs(self) -> list[str]:
        """What the stacks were asked, without the project."""
        return [line.rpartition(" ")[0] for line in self.asked]

    @property
    def settings(self) -> dict[str, str]:
        """The settings that the stack was started with."""
        found: dict[str, str] = json.loads((self.path / "settings.json").read_text())
        return found


@pytest.fixture
def repository(tmp_path: Path) -> Example:
    return Example(tmp_path)


def test_one_stack_serves_a_session_and_is_gone_afterwards(repository: Example) -> None:
    result = repository.new_pytest()

    assert result.returncode == 0, result.stdout
    up, down = repository.asked
    assert up.split()[0] == "up"
    assert down == up.replace("up", "down")
    assert list((repository.path / ".windtunnel" / "projects").iterdir()) == []


def test_tests_that_want_no_stack_start_none(repository: Example) -> None:
    assert repository.pytest("-k", "without").returncode == 0
    assert repository.asked == []


def test_a_kept_stack_is_taken_again(repository: Example) -> None:
    repository.pytest("--windtunnel-reuse")
    repository.pytest("--windtunnel-reuse")

    assert repository.verbs == ["up", "look at"]

    assert repository.pytest("--windtunnel-stop").returncode == 0
    assert repository.verbs == ["up", "look at", "down"]


@pytest.mark.parametrize(
    ("test", "workers"),
    [
        ("def test_it(windtunnel): os.kill(os.getpid(), signal.SIGKILL)", ()),
        ("def test_it(windtunnel): os.kill(os.getpid(), signal.SIGKILL)", ("-n", "1")),
        ("def test_it(windtunnel, _cleanup): _cleanup.callback(lambda: 1 / 0)", ()),
        ("def test_it(windtunnel, _cleanup): _cleanup.callback(lambda: 1 / 0)", ("-n", "1")),
    ],
    ids=["killed", "worker killed", "not undone", "worker, not undone"],
)
def test_a_kept_stack_starts_from_nothing_if_a_test_could_not_undo_what_it_had_set(
    repository: Example, test: str, workers: tuple[str, ...]
) -> None:
    (repository.path / "test_dirty.py").write_text(f"import os, signal\n{test}\n")

    repository.pytest("--windtunnel-reuse", "test_dirty.py", *workers)
    before = len(repository.verbs)
    result = repository.pytest("--windtunnel-reuse", "test_it.py")
    repository.pytest("--windtunnel-reuse", "test_it.py")

    assert result.returncode == 0, result.stdout
    assert "could not undo what a test had set: starting from nothing" in result.stdout
    assert repository.verbs[before:] == ["down", "up", "look at"]


@contextmanager
def in_use(repository: Example) -> Iterator[Path]:
    """Another session uses the kept stack; what is noted of that."""
    (note,) = (repository.path / ".windtunnel" / "projects").iterdir()
    with (repository.path / ".windtunnel" / "locks" / note.name).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield note


def test_a_kept_stack_is_not_removed_while_another_session_uses_it(repository: Example) -> None:
    repository.pytest("--windtunnel-reuse")
    with in_use(repository) as note:
        content = json.loads(note.read_text())
        assert content["users"] == []
        note.write_text(json.dumps(content | {"users": ["killed", "alive"]}))

        repository.pytest("--windtunnel-reuse")

        assert repository.verbs == ["up", "look at"]
        assert json.loads(note.read_text())["users"] == ["killed", "alive"]
    # Nobody uses it now, so both were killed.
    repository.pytest("--windtunnel-reuse")
    assert repository.verbs == ["up", "look at", "down", "up"]


def test_a_kept_stack_is_not_stopped_while_another_session_uses_it(repository: Example) -> None:
    repository.pytest("--windtunnel-reuse")
    (repository.path / "requirements.txt").write_text("pandas==3")

    with in_use(repository):
        refused = repository.pytest("--windtunnel-reuse")

    assert refused.returncode == 1
    assert "is used by another session of pytest, and has to be started again" in refused.stdout
    assert repository.verbs == ["up"]
    assert repository.pytest("--windtunnel-reuse").returncode == 0
    assert repository.verbs == ["up", "stop", "up"]


def test_a_session_without_a_stack_leaves_one_alone_that_is_being_started(repository: Example) -> None:
    repository.pytest("--windtunnel-reuse")
    (note,) = (repository.path / ".windtunnel" / "projects").iterdir()
    starting = '{"engine": "local", "session": "another", "users": ["another"]}'
    note.write_text(starting)

    repository.pytest("--windtunnel-reuse", "-k", "without")

    assert repository.verbs == ["up"]
    assert note.read_text() == starting


def test_a_kept_stack_keeps_its_data_if_it_does_not_start_again(repository: Example) -> None:
    repository.pytest("--windtunnel-reuse")
    (repository.path / "requirements.txt").write_text("pandas==3")

    repository.pytest("--windtunnel-reuse", BROKEN="1")
    repository.pytest("--windtunnel-reuse")

    assert repository.verbs == ["up", "stop", "up", "stop", "up"]


def test_a_kept_stack_outlives_a_dag_that_cannot_be_imported(repository: Example) -> None:
    repository.pytest("--windtunnel-reuse")

    broken = repository.pytest("--windtunnel-reuse", TYPO="yes")
    corrected = repository.pytest("--windtunnel-reuse")

    assert broken.returncode == 1
    assert "the stack is not ready:\nDAG files with import errors:\na.py: SyntaxError: bad" in broken.stdout
    assert corrected.returncode == 0, corrected.stdout
    assert repository.verbs == ["up", "look at", "look at"]


def test_a_kept_stack_outlives_requirements_that_cannot_be_installed(repository: Example) -> None:
    repository.pytest("--windtunnel-reuse")
    (repository.path / "requirements.txt").write_text("no-such==1")

    broken = repository.pytest("--windtunnel-reuse")
    (repository.path / "requirements.txt").write_text("")
    corrected = repository.pytest("--windtunnel-reuse")

    assert broken.returncode == 1
    assert "no-such cannot be installed" in broken.stdout
    assert corrected.returncode == 0, corrected.stdout
    assert repository.verbs == ["up", "look at"]


def test_a_kept_stack_that_is_gone_is_started_again(repository: Example) -> None:
    repository.pytest("--windtunnel-reuse")
    (repository.path / "asked.txt").write_text("")

    # The last answer of its health checks, which says nothing of what does not run.
    result = repository.pytest("--windtunnel-reuse", TYPO="yes")

    assert result.returncode == 0, result.stdout
    assert repository.verbs == ["stop", "up"]


def test_a_kept_stack_is_started_again_if_its_requirements_have_changed(repository: Example) -> None:
    repository.pytest("--windtunnel-reuse")
    (repository.path / "requirements.txt").write_text("another")
    repository.pytest("--windtunnel-reuse")

    assert repository.verbs == ["up", "stop", "up"]


def test_a_stack_that_was_to_stay_and_does_not_start_is_removed(repository: Example) -> None:
    repository.pytest("--windtunnel-reuse", BROKEN="1")

    assert repository.verbs == ["up", "down"]


def test_a_kept_stack_of_another_engine_is_removed(repository: Example) -> None:
    repository.pytest("--windtunnel-reuse")
    repository.pytest("--windtunnel-reuse", "--windtunnel-engine", "compose")

    assert repository.verbs == ["up", "down", "up"]


def test_the_workers_of_xdist_start_one_stack_and_do_not_touch_it_again(repository: Example) -> None:
    result = repository.pytest("-n", "2", "--dist", "each")

    assert result.returncode == 0, result.stdout
    assert repository.verbs == ["up", "down"]


def test_the_workers_of_xdist_say_why_a_stack_does_not_start(repository: Example) -> None:
    result = repository.pytest("-n", "2", "--dist", "each", BROKEN="1")

    assert result.returncode == 1, result.stdout
    assert "the stack is not ready:\nscheduler ended with exit code 1" in result.stdout
    assert repository.verbs == ["up", "down"]


def test_a_stack_that_is_not_removed_fails_the_session_and_hides_nothing(repository: Example) -> None:
    repository.test("False")

    result = repository.pytest(STUCK="1")

    assert result.returncode not in (0, 1)
    assert "is not removed: the network has active endpoints" in result.stdout
    assert "1 failed, 2 passed" in result.stdout


def test_errors_of_others_are_shown_as_they_are(repository: Example) -> None:
    with (repository.path / "conftest.py").open("a") as conftest:
        conftest.write("import pytest\ndef pytest_configure(): raise pytest.UsageError('set FOO first')\n")

    result = repository.pytest()

    assert "set FOO first" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_stack_that_does_not_start_ends_the_session_and_is_removed(repository: Example) -> None:
    result = repository.pytest(BROKEN="1")

    assert result.returncode == 1
    for said in ("the stack is not ready", "scheduler ended with exit code 1", "No module named x"):
        assert said in result.stdout + result.stderr
    assert "windtunnel logs" not in result.stdout + result.stderr
    assert repository.verbs == ["up", "down"]
    (log,) = (repository.path / ".windtunnel" / "evidence").glob("*/start/scheduler.log")
    assert log.read_text() == "the scheduler's"


def test_a_failed_test_says_why_its_runs_failed_and_where_the_rest_is(repository: Example) -> None:
    repository.test("False")

    result = repository.pytest()

    assert result.returncode == 1
    assert (
        f"mine run-1:\ncount, try 1, failed:\n{'  step\n' * 9}  ValueError: bad\nall of it: " in result.stdout
    )
    (folder,) = (repository.path / ".windtunnel" / "evidence").glob("*/test_it.py_test_it-*")
    assert (folder / "services" / "scheduler.log").read_text() == "the scheduler's"
    assert "ValueError: bad" in (folder / "runs.txt").read_text()


def test_what_a_killed_session_has_left_is_removed_by_the_next(repository: Example) -> None:
    repository.pytest()
    own = repository.asked[0].split()[1]
    gone, alive = f"{own.rpartition('-')[0]}-1", f"{own.rpartition('-')[0]}-2"
    state = repository.path / ".windtunnel"
    for project in (gone, alive):
        (state / "projects" / project).write_text('{"engine": "local"}')

    with (state / "locks" / alive).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        repository.pytest()

    assert f"down {gone}" in repository.asked
    assert [path.name for path in (state / "projects").iterdir()] == [alive]
    assert [path.name for path in (state / "locks").iterdir()] == [alive]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            'dag = "dags"',
            "dag; there are: dags, lambdas, custom, plugins, config, requirements, aws, dag_time_budget,",
        ),
        ('lambdas = "functions"', "lambdas = 'functions' is not there"),
        ("dags = 3", "dags = 3 is not a path"),
        ('engine = "podman"', "engine = 'podman' is not one of compose, local"),
        ('with = "celery"', "with = 'celery' is not a list of names and paths"),
        ('with = ["./no-such.yml"]', "no-such.yml is not there"),
        ("dag_time_budget = true", "dag_time_budget = True is not a number of seconds"),
    ],
)
def test_a_wrong_setting_is_named(repository: Example, setting: str, said: str) -> None:
    repository.configure(setting)

    result = repository.pytest()

    assert result.returncode != 0
    assert f"[tool.windtunnel] in {repository.path / 'pyproject.toml'}: " in result.stdout
    assert said in result.stdout
    assert "Traceback" not in result.stdout
    assert not (repository.path / ".windtunnel" / "projects").exists()


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_an_option_wins_over_the_configuration_and_counts_from_where_pytest_is_started(
    repository: Example, workers: tuple[str, ...]
) -> None:
    for folder in ("jobs", "below/flows", "below/lambdas"):
        (repository.path / folder).mkdir(parents=True)
    repository.configure('dags = "jobs"', 'lambdas = "jobs"', 'with = ["emr"]')
    (repository.path / "below" / "mine.yml").touch()

    options = ("--windtunnel-dags", "flows", "--windtunnel-with", "celery", "--windtunnel-with", "mine.yml")
    result = repository.pytest("..", *options, *workers, folder="below")

    assert result.returncode == 0, result.stdout
    found = repository.settings
    assert found["DAGS_FOLDER"] == str(repository.path / "below" / "flows")
    assert found["LAMBDAS_FOLDER"] == str(repository.path / "jobs")
    assert found["WINDTUNNEL_WITH"] == f"celery,{repository.path / 'below' / 'mine.yml'}"


def test_the_overlays_of_the_configuration_count_from_the_repository(repository: Example) -> None:
    repository.configure('with = ["celery", "deploy/mine.yml"]')
    (repository.path / "deploy").mkdir()
    (repository.path / "deploy" / "mine.yml").touch()

    result = repository.pytest()

    assert result.returncode == 0, result.stdout
    assert repository.settings["WINDTUNNEL_WITH"] == f"celery,{repository.path / 'deploy' / 'mine.yml'}"


def test_a_kept_stack_is_stopped_from_another_folder(repository: Example) -> None:
    (repository.path / "below" / "flows").mkdir(parents=True)
    option = ("..", "--windtunnel-dags", "flows")
    repository.pytest(*option, "--windtunnel-reuse", folder="below")

    result = repository.pytest(*option, "--windtunnel-stop", folder="below")

    assert result.returncode == 0, result.stderr
    assert repository.verbs == ["up", "down"]


def test_an_option_for_what_is_not_there_is_named(repository: Example) -> None:
    result = repository.pytest("--windtunnel-requirements", "no-such.txt")

    assert result.returncode != 0
    assert f"--windtunnel-requirements: {repository.path / 'no-such.txt'} is not there" in (
        result.stdout + result.stderr
    )
    assert repository.asked == []


def test_tests_of_long_or_equal_names_have_bundles_of_their_own(repository: Example) -> None:
    (repository.path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('long', ['a' * 300, 'a' * 301])\n"
        "def test_it(windtunnel, long): assert False\n"
    )

    result = repository.pytest()

    assert "2 failed" in result.stdout
    assert len(list((repository.path / ".windtunnel" / "evidence").glob("*/test_it*"))) == 2
