"""Pytest's fixtures around a running stack, for repositories of DAGs; installed with the package.

A repository names its folders in ``pyproject.toml``::

    [tool.windtunnel]
    dags = "dags"
    lambdas = "lambdas"
    custom = "custom"
    requirements = "requirements.txt"
    aws = "aws.json"

Those are the defaults, as far as they are there. The stack is started by the first test that asks for it, as
a project of its own on free ports, and is gone when the session ends.
"""

import fcntl
import gc
import hashlib
import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Everything else is imported once a test wants a stack: pytest starts in other repositories, too.
if TYPE_CHECKING:
    from windtunnel.engine import Engine
    from windtunnel.functions import Stub
    from windtunnel.testing import DagRun, Stack

# `--windtunnel-check`, which needs no stack.
pytest_plugins = ["windtunnel.pytest_checks"]

# Of the project's configuration: the file of what is in AWS from the start.
AWS_FILE = "aws.json"

# Of the project's configuration: the setting of the stack that each of them becomes.
FOLDERS = {
    "dags": "DAGS_FOLDER",
    "lambdas": "LAMBDAS_FOLDER",
    "custom": "CUSTOM_FOLDER",
    "config": "CONFIG_FOLDER",
    "requirements": "REQUIREMENTS_FILE",
}

# What a repository need not have: then there is an empty one.
EMPTY_IF_ABSENT = ("dags", "lambdas", "custom")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options for the stack."""
    group = parser.getgroup("windtunnel", "Airflow on AWS on this machine")
    group.addoption(
        "--windtunnel-engine",
        choices=["compose", "local"],
        help="what runs the stack; compose where a Docker engine answers, else local",
    )
    group.addoption(
        "--windtunnel-keep", action="store_true", help="leave the stack running, for --windtunnel-reuse"
    )
    group.addoption(
        "--windtunnel-reuse",
        action="store_true",
        help="take the stack that --windtunnel-keep has left, or start one, and leave it running",
    )
    group.addoption(
        "--windtunnel-stop", action="store_true", help="stop what --windtunnel-keep has left; run no test"
    )


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Stop the stack that is left, where that is asked for."""
    if not config.getoption("windtunnel_stop"):
        return None
    Session(config).stop_kept()
    return 0


def pytest_configure(config: pytest.Config) -> None:
    """Know the session's project, in the workers of pytest-xdist, too."""
    config.stash[SESSION] = Session(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist whose it is."""
    node.workerinput["windtunnel_project"] = node.config.stash[SESSION].project


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Take the stack down, once all workers have ended."""
    session.config.stash[SESSION].finish()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let the process end without a last look at all that was imported: 0.5 s of each session."""
    if config.stash[SESSION].stack:
        gc.freeze()


class Session:
    """The stack of one pytest session."""

    def __init__(self, config: pytest.Config) -> None:
        """Start nothing yet."""
        self._config = config
        self.state = config.rootpath / ".windtunnel"
        # Of pytest-xdist; only a worker has it.
        worker: dict[str, str] | None = getattr(config, "workerinput", None)
        self.is_worker = worker is not None
        self.stays = bool(config.getoption("windtunnel_keep") or config.getoption("windtunnel_reuse"))
        # One for each repository and, unless it stays, for each session.
        place = hashlib.sha256(str(config.rootpath).encode()).hexdigest()[:8]
        self._prefix = f"pytest-{place}"
        own = self._prefix if self.stays else f"{self._prefix}-{os.getpid()}"
        self.project = worker["windtunnel_project"] if worker else own
        self.stack: Stack | None = None
        # On top of what the repository's configuration says.
        self.settings: Mapping[str, str] = {}

    @property
    def evidence(self) -> Path:
        """Where bundles of failed tests go."""
        return self.state / "evidence" / self.project

    @cached_property
    def named(self) -> dict[str, Any]:
        """What the repository's configuration says.

        :raises pytest.UsageError: for a name that is none.
        """
        content = tomllib.loads(self._file.read_text()) if self._file.exists() else {}
        named: dict[str, Any] = content.get("tool", {}).get("windtunnel", {})
        known = (*FOLDERS, "aws", "dag_time_budget", "engine")
        if unknown := sorted(set(named) - set(known)):
            raise pytest.UsageError(
                f"[tool.windtunnel] in {self._file}: {', '.join(unknown)}; there are: {', '.join(known)}"
            )
        return named

    @property
    def _file(self) -> Path:
        return self._config.rootpath / "pyproject.toml"

    def _path(self, name: str, usual: str) -> Path | None:
        """A file or folder of the repository; None where it is not there and not named.

        :raises pytest.UsageError: where it is named, and not there.
        """
        path = self._config.rootpath / self.named.get(name, usual)
        if not path.exists() and name in self.named:
            raise pytest.UsageError(
                f"[tool.windtunnel] in {self._file}: {name} = {self.named[name]!r} is not there"
            )
        return path if path.exists() else None

    def _settings(self) -> dict[str, str]:
        """The stack's settings, from the repository's configuration.

        :raises pytest.UsageError: for a name that is none, or a folder that is not there.
        """
        named = self.named
        settings = {"WEBSERVER_PORT": "0", "LOCALSTACK_PORT": "0"}
        for name, setting in FOLDERS.items():
            if path := self._path(name, "requirements.txt" if name == "requirements" else name):
                settings[setting] = str(path)
            elif name in EMPTY_IF_ABSENT:
                empty = self.state / "empty" / name
                empty.mkdir(parents=True, exist_ok=True)
                settings[setting] = str(empty)
        if engine := self._config.getoption("windtunnel_engine") or named.get("engine"):
            settings["WINDTUNNEL_ENGINE"] = engine
        return settings

    def engine(self, project: str) -> "Engine":
        """One of this repository's stacks."""
        from windtunnel import engines, installation

        settings = self._settings()
        root = installation.stack_root(self.state)
        named = settings.pop("WINDTUNNEL_ENGINE", None)
        # The images serve every session of the repository.
        settings["WINDTUNNEL_IMAGE"] = os.environ.get("WINDTUNNEL_IMAGE") or self._prefix
        settings.update(self.settings)
        return engines.choose(
            named, project=project, environment=settings, root=root, state=self.state
        ).engine

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        self.state.mkdir(exist_ok=True)
        with (self.state / "pytest.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def start(self) -> "Stack":
        """The running stack; the first worker that wants it starts it, the others wait.

        :raises windtunnel.engine.EngineError: naming the part that fails.
        :raises windtunnel.prepare.Unmet: naming what is not there.
        :raises windtunnel.seeding.SeedingError: when AWS refuses what is to be there.
        """
        from windtunnel import prepare, seeding
        from windtunnel.testing import Stack

        engine = self.engine(self.project)
        stack = Stack(engine)
        resources = self._path("aws", AWS_FILE)
        calls = seeding.load_resources(resources) if resources else []
        with self._exclusively():
            if engine.is_running("webserver"):
                stack.wait_for_saved_files()
            else:
                self._remove_abandoned()
                prepare.check(engine, _ignore)
                prepare.parts(engine, _ignore, _ignore)
                engine.up()
            for service, operation, arguments in calls:
                seeding.create(stack.aws(service), operation, arguments)
        self.stack = stack
        return stack

    def _remove_abandoned(self) -> None:
        """Remove what sessions of this repository have left because they were killed."""
        for project in _projects(self.state):
            owner = re.fullmatch(rf"{self._prefix}-(\d+)", project)
            if owner and not Path("/proc", owner[1]).exists():
                self._remove(project)

    def _remove(self, project: str) -> None:
        self.engine(project).down(volumes=True)
        (self.state / "projects" / project).unlink(missing_ok=True)

    def finish(self) -> None:
        """Take down what was started, unless it is to stay."""
        if self.is_worker or self.stays or self.project not in _projects(self.state):
            return
        self._remove(self.project)

    def write_logs(self) -> Path:
        """Write the logs of all services, as far as they can be had; the folder."""
        folder = self.evidence / "start"
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(Exception):
            self.engine(self.project).write_logs(folder)
        return folder

    def stop_kept(self) -> None:
        """Remove the stack that stays from one session to the next."""
        if self._prefix in _projects(self.state):
            self._remove(self._prefix)

    def note(self) -> None:
        """Remember the project, for a session that comes after a kill."""
        folder = self.state / "projects"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / self.project).touch()


SESSION = pytest.StashKey[Session]()


def _projects(state: Path) -> list[str]:
    """The projects that were started and not removed."""
    return sorted(path.name for path in (state / "projects").glob("*"))


def _ignore(_: str) -> None:
    """Take a line of progress: pytest shows none."""


@pytest.fixture(scope="session")
def windtunnel_settings() -> Mapping[str, str]:
    """Settings of the stack, for a ``conftest.py`` to replace: ``{"WEBSERVER_PORT": "8080"}``.

    By the names that the compose file has for them; they win over ``pyproject.toml``.
    """
    return {}


@pytest.fixture(scope="session")
def windtunnel(pytestconfig: pytest.Config, windtunnel_settings: Mapping[str, str]) -> "Stack":
    """The running stack; what can be done with it is in ``windtunnel.testing.Stack``."""
    from windtunnel.engine import EngineError
    from windtunnel.prepare import Unmet
    from windtunnel.seeding import SeedingError

    session = pytestconfig.stash[SESSION]
    session.settings = windtunnel_settings
    session.note()
    try:
        return session.start()
    except Unmet as error:
        found = [f"{finding.problem}\n{finding.remedy}" for finding in error.findings]
        pytest.exit("\n".join(["the stack does not start:", *found]), returncode=1)
    except SeedingError as error:
        pytest.exit(f"the stack does not start: {error}", returncode=1)
    except EngineError as error:
        # No test can do without; each would try again.
        said = [f"the stack does not start: {error.what}", error.output, f"Logs: {session.write_logs()}"]
        pytest.exit("\n".join(filter(None, said)), returncode=1)


@pytest.fixture(scope="session")
def run_dag(windtunnel: "Stack") -> "Callable[..., DagRun]":
    """Runs a DAG to its end: ``run_dag("my-dag", {"key": "value"})``."""
    return windtunnel.run_dag


@pytest.fixture(scope="session")
def aws_client(windtunnel: "Stack") -> Callable[[str], Any]:
    """Makes boto3 clients for the emulated AWS: ``aws_client("s3")``."""
    return windtunnel.aws


# What is undone after the test


@pytest.fixture
def _undone() -> Iterator[ExitStack]:
    with ExitStack() as undone:
        yield undone


@pytest.fixture
def set_connection(windtunnel: "Stack", _undone: ExitStack) -> Callable[..., None]:
    """Adds a connection of Airflow's, for this test: ``set_connection("db", "postgres", host="db.test")``."""
    return lambda *arguments, **fields: _undone.enter_context(windtunnel.connection(*arguments, **fields))


@pytest.fixture
def set_variable(windtunnel: "Stack", _undone: ExitStack) -> Callable[[str, Any], None]:
    """Adds a variable of Airflow's, for this test: ``set_variable("threshold", 3)``."""
    return lambda key, value: _undone.enter_context(windtunnel.variable(key, value))


@pytest.fixture
def set_pool(windtunnel: "Stack", _undone: ExitStack) -> Callable[[str, int], None]:
    """Adds a pool of Airflow's, for this test: ``set_pool("texts", 2)``."""
    return lambda name, slots: _undone.enter_context(windtunnel.pool(name, slots))


@pytest.fixture
def pause_dag(windtunnel: "Stack", _undone: ExitStack) -> Callable[[str], None]:
    """Pauses a DAG, for this test."""
    return lambda dag_id: _undone.enter_context(windtunnel.paused(dag_id))


@pytest.fixture
def deploy_function(windtunnel: "Stack", _undone: ExitStack) -> Callable[[Path | str], str]:
    """Deploys the Lambda function of a folder, for this test, and returns its name."""
    return lambda folder: _undone.enter_context(windtunnel.deploy_function(folder))


@pytest.fixture
def stub_function(windtunnel: "Stack", _undone: ExitStack) -> "Callable[..., Stub]":
    """Lets a Lambda function answer what this test says: ``stub_function("count-words", 3)``.

    ``raises=ValueError("no text")`` lets it fail. What it returns has ``events``, with which it was called.
    """
    return lambda *arguments, **options: _undone.enter_context(
        windtunnel.stub_function(*arguments, **options)
    )


# The failure bundle


# How many runs there were before a test.
RUNS = pytest.StashKey[int]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember which runs are not this test's."""
    stack = item.config.stash[SESSION].stack
    item.stash[RUNS] = len(stack.runs) if stack else 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[Any]") -> "Iterator[None]":
    """Gather what tells why a test that used the stack has failed."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    stack = item.config.stash[SESSION].stack
    if report.failed and stack is not None and "windtunnel" in getattr(item, "fixturenames", ()):
        folder = item.config.stash[SESSION].evidence / re.sub(r"[^\w.-]+", "_", item.name)
        from windtunnel import evidence
        from windtunnel.airflow_api import TELLING_LINES

        # The run, the task, and the end of that task's log, where the exception is.
        own = stack.runs[item.stash.get(RUNS, 0) :]
        lines = evidence.write(stack, folder, own)[: 2 + TELLING_LINES]
        report.sections.append(("windtunnel", "\n".join([*lines, f"all of it: {folder}"])))
    return report  # type: ignore[return-value]
