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

import gc
import hashlib
import json
import os
import re
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from windtunnel import locks

# Everything else is imported once a test wants a stack: pytest starts in other repositories, too.
if TYPE_CHECKING:
    from windtunnel.seeding.validation import SeedingError
    from windtunnel.stack.base import Stack
    from windtunnel.stack.errors import StackError, Unmet
    from windtunnel.stack.service import Service
    from windtunnel.testing.function_stubs import Stub
    from windtunnel.testing.runs import DagRun
    from windtunnel.testing.stack import RunningStack

# Pytest shows the test's line that failed, and not the way through here.
__tracebackhide__ = True


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

# What a repository may have elsewhere, by its configuration or by an option.
PATHS = (*FOLDERS, "aws")

# Those of `windtunnel.stack.choose`, which is imported later.
ENGINES = ("compose", "local")

# What a repository need not have: then there is an empty one.
EMPTY_IF_ABSENT = ("dags", "lambdas", "custom")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options for the stack."""
    group = parser.getgroup("windtunnel", "Airflow on AWS on this machine")
    group.addoption(
        "--windtunnel-engine",
        choices=ENGINES,
        help="what runs the stack; compose where a Docker engine answers, else local",
    )
    for name in PATHS:
        group.addoption(
            f"--windtunnel-{name}", metavar="PATH", help=f"in place of {name} of [tool.windtunnel]"
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
    _make_paths_absolute(config)
    Session(config).stop_kept()
    return 0


def pytest_configure(config: pytest.Config) -> None:
    """Know the session's project, in the workers of pytest-xdist, too."""
    _make_paths_absolute(config)
    config.stash[SESSION] = Session(config)


def _make_paths_absolute(config: pytest.Config) -> None:
    """Options count from where pytest was started; a worker may be in another folder."""
    told: dict[str, str] = getattr(config, "workerinput", {}).get("windtunnel_paths", {})
    for name in PATHS:
        if path := config.getoption(f"windtunnel_{name}"):
            absolute = told.get(name) or str(config.invocation_params.dir / path)
            setattr(config.option, f"windtunnel_{name}", absolute)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist whose it is."""
    session = node.config.stash[SESSION]
    node.workerinput["windtunnel_project"] = session.project
    node.workerinput["windtunnel_session"] = session.id
    node.workerinput["windtunnel_paths"] = {
        name: path for name in PATHS if (path := node.config.getoption(f"windtunnel_{name}"))
    }


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Remember of a worker of pytest-xdist that has crashed that nobody has undone what its test had set."""
    if error:
        node.config.stash[SESSION].leave_undone()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Take the stack down, once all workers have ended; where that fails, the session has."""
    own = session.config.stash[SESSION]
    try:
        own.finish()
    except Exception as error:
        own.problem = f"the stack of {own.project} is not removed: {error}"
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say so."""
    if problem := config.stash[SESSION].problem:
        terminalreporter.section("windtunnel", red=True)
        terminalreporter.line(problem)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let the process end without a last look at all that was imported: 0.5 s of each session."""
    own = config.stash.get(SESSION, None)
    if own and own.running:
        gc.freeze()


@dataclass
class Note:
    """What is remembered of a project on disk, for other workers and for later sessions."""

    engine: str = ""
    # Of which it is ready, or has failed; empty while it starts.
    session: str = ""
    failure: str = ""
    # What it was started from.
    fingerprint: str = ""
    # The sessions that have begun to use it and not ended. Where nobody uses it any more, they were killed.
    begun: list[str] = field(default_factory=list)


# The fingerprint of a stack that was ready once, and is to be started anew on its data.
STALE = "stale"


class Session:
    """The stack of one pytest session."""

    def __init__(self, config: pytest.Config) -> None:
        """Start nothing yet."""
        self._config = config
        self.state = config.rootpath / ".windtunnel"
        # Of pytest-xdist; only a worker has it.
        worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        self.is_worker = worker is not None
        self.stays = bool(config.getoption("windtunnel_keep") or config.getoption("windtunnel_reuse"))
        # One for each repository and, unless it stays, for each session.
        place = hashlib.sha256(str(config.rootpath).encode()).hexdigest()[:8]
        self._prefix = f"pytest-{place}"
        own = self._prefix if self.stays else f"{self._prefix}-{os.getpid()}"
        self.project = worker["windtunnel_project"] if worker else own
        # The same in all workers.
        self.id: str = worker["windtunnel_session"] if worker else f"{os.getpid()} {time.time()}"
        # Held as long as this process uses the stack.
        self._use: IO[str] | None = None
        self.running: RunningStack | None = None
        # On top of what the repository's configuration says.
        self.settings: Mapping[str, str] = {}
        # What went wrong at the end.
        self.problem = ""

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
        known = (*PATHS, "dag_time_budget", "engine")
        if unknown := sorted(set(named) - set(known)):
            raise pytest.UsageError(
                f"[tool.windtunnel] in {self._file}: {', '.join(unknown)}; there are: {', '.join(known)}"
            )
        for name, value in named.items():
            if name != "dag_time_budget" and not isinstance(value, str):
                raise pytest.UsageError(f"[tool.windtunnel] in {self._file}: {name} = {value!r} is no text")
        if named.get("engine", "local") not in ENGINES:
            raise pytest.UsageError(
                f"[tool.windtunnel] in {self._file}: engine = {named['engine']!r}; "
                f"there are: {', '.join(ENGINES)}"
            )
        return named

    @property
    def _file(self) -> Path:
        return self._config.rootpath / "pyproject.toml"

    def _path(self, name: str, usual: str) -> Path | None:
        """A file or folder of the repository; None where it is not there and not named.

        :raises pytest.UsageError: where it is named, and not there.
        """
        option: str | None = self._config.getoption(f"windtunnel_{name}")
        path: Path = self._config.rootpath / (option or self.named.get(name, usual))
        if path.exists():
            return path
        if option:
            raise pytest.UsageError(f"--windtunnel-{name}: {path} is not there")
        if name in self.named:
            raise pytest.UsageError(
                f"[tool.windtunnel] in {self._file}: {name} = {self.named[name]!r} is not there"
            )
        return None

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

    def make_stack(self, project: str) -> "Stack":
        """One of this repository's stacks; where it was started already, with the engine that it runs on."""
        from windtunnel.stack import checkout, choose

        settings = self._settings()
        root = checkout.stack_root(self.state)
        named = settings.pop("WINDTUNNEL_ENGINE", None)
        # The images serve every session of the repository.
        settings["WINDTUNNEL_IMAGE"] = os.environ.get("WINDTUNNEL_IMAGE") or self._prefix
        settings.update(self.settings)
        return choose.choose(
            self._note(project).engine or named,
            project=project,
            variables=settings,
            root=root,
            state_folder=self.state,
        ).stack

    @property
    def _notes(self) -> Path:
        return self.state / "projects"

    def _note(self, project: str) -> Note:
        file = self._notes / project
        text = file.read_text() if file.exists() else ""
        return Note(**json.loads(text)) if text else Note()

    def _write(self, note: Note) -> None:
        self._notes.mkdir(parents=True, exist_ok=True)
        (self._notes / self.project).write_text(json.dumps(asdict(note)))

    def _projects(self) -> list[str]:
        """Those that were started and not removed."""
        return sorted(path.name for path in self._notes.glob("*"))

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        self.state.mkdir(exist_ok=True)
        with locks.exclusive(self.state / "pytest.lock"):
            yield

    def start(self) -> "RunningStack":
        """The running stack; the first worker that wants it starts it, the others wait.

        :raises StartFailed: naming the part that fails, for this worker or for another one.
        """
        from windtunnel.seeding.validation import SeedingError
        from windtunnel.stack.errors import StackError, Unmet
        from windtunnel.testing.stack import RunningStack

        with self._exclusively():
            alone = self._take()
            note = self._note(self.project)
            if note.session != self.id:
                try:
                    note = self._ready(note, alone)
                except (StackError, SeedingError, Unmet) as error:
                    note = replace(self._note(self.project), failure=self._why(error))
                self._write(replace(note, session=self.id))
        if note.failure:
            raise StartFailed(note.failure)
        self.running = RunningStack(self.make_stack(self.project))
        return self.running

    def _take(self) -> bool:
        """Use the project until this process ends, however it does; whether nobody else uses it."""
        self._use = self._lock(self.project)
        alone = locks.try_exclusive(self._use)
        locks.share(self._use)
        return alone

    def _lock(self, project: str) -> IO[str]:
        (self.state / "locks").mkdir(exist_ok=True)
        return (self.state / "locks" / project).open("w")

    def _require(self, alone: bool, why: str) -> None:
        from windtunnel.stack.errors import StackError

        if not alone:
            raise StackError(
                f"{self.project} is used by another session of pytest, and {why}",
                next_step="Wait for its end, or do without --windtunnel-keep and --windtunnel-reuse.",
            )

    def _ready(self, note: Note, alone: bool) -> Note:
        """Start it, or see to it that a stack that has stayed is as the repository says now.

        :param alone: no other session uses it.
        """
        from windtunnel.diagnosis import preflight
        from windtunnel.seeding import resources
        from windtunnel.testing.stack import RunningStack

        wanted = self._settings().get("WINDTUNNEL_ENGINE", note.engine)
        file = self._path("aws", AWS_FILE)
        calls = resources.load_resources(file) if file else []
        other_engine = note.engine and note.engine != wanted
        if other_engine or (alone and note.begun):
            self._require(alone, f"runs on the engine {note.engine}")
            if not other_engine:
                self._say(
                    "a session was killed, or could not undo what a test had set: the stack is made anew"
                )
            self._remove(self.project)
            note = Note()
        running = RunningStack(self.make_stack(self.project))
        stack, now = running.stack, self._fingerprint(running.stack)
        ready = replace(note, engine=stack.engine, fingerprint=now, failure="", begun=[*note.begun, self.id])
        if note.fingerprint == now and stack.has_parts() and all(map(_is_usable, stack.services())):
            running.wait_for_saved_files()
            running.require_no_import_errors()
        else:
            self._require(alone, "has to be started anew")
            self._remove_abandoned()
            if not note.fingerprint:
                self._write(replace(ready, fingerprint=""))
            preflight.check(stack, self._say)
            stack.get_parts(self._say, _ignore)
            if note.fingerprint:
                # Some settings, those of airflow.cfg for example, are read at a start alone.
                self._write(replace(ready, fingerprint=STALE))
                stack.down()
            stack.up()
        self._write(ready)
        for service, operation, arguments in calls:
            resources.create(running.aws(service), operation, arguments)
        return ready

    def _fingerprint(self, stack: "Stack") -> str:
        """Of all that a running stack does not take up by itself: settings, requirements, configuration."""
        digest = hashlib.sha256(
            json.dumps([*sorted(self._settings().items()), *self.settings.items()]).encode()
        )
        config = stack.settings.get("CONFIG_FOLDER")
        files = sorted(path for path in Path(config).rglob("*") if path.is_file()) if config else []
        for path in (stack.settings.requirements_file(), *files):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def _why(self, error: "StackError | SeedingError | Unmet") -> str:
        """What a session ends with that cannot have its stack."""
        from windtunnel.stack.errors import StackError, Unmet

        said = [str(error)]
        if isinstance(error, Unmet):
            said = [part for finding in error.findings for part in (finding.problem, finding.remedy)]
        elif isinstance(error, StackError):
            logs = self._write_logs()
            # What is to be done next is often a command that there is in a checkout alone.
            step = "" if "./windtunnel" in error.next_step else error.next_step
            said = [error.what, error.output, step, f"Logs: {logs}" if logs else ""]
        return "\n".join(filter(None, ["the stack is not ready:", *said]))

    def _remove_abandoned(self) -> None:
        """Remove what sessions of this repository have left because they were killed."""
        for project in self._projects():
            # Not the one that stays.
            if project not in (self._prefix, self.project):
                with self._lock(project) as lock:
                    if locks.try_exclusive(lock):
                        self._remove(project)
                        Path(lock.name).unlink()

    def _remove(self, project: str) -> None:
        if self._note(project).engine:
            self.make_stack(project).down(volumes=True)
        (self._notes / project).unlink(missing_ok=True)

    def finish(self) -> None:
        """Take down what was started, unless it is to stay and was ready once."""
        if self.is_worker or self.project not in self._projects():
            return
        with self._exclusively():
            note = self._note(self.project)
            if self.stays and self.id not in note.begun:
                # That of another session.
                return
            if self.stays and note.fingerprint:
                self._write(replace(note, begun=[session for session in note.begun if session != self.id]))
                return
            self._remove(self.project)
            (self.state / "locks" / self.project).unlink(missing_ok=True)

    def leave_undone(self) -> None:
        """Let the next session make the stack anew: something that a test has set is still there."""
        if self.project in self._projects():
            with self._exclusively():
                note = self._note(self.project)
                self._write(replace(note, begun=[*note.begun, f"what is undone of {self.id}"]))

    def _write_logs(self) -> Path | None:
        """Write the logs of all services, as far as they can be had; None where there are none."""
        folder = self.evidence / "start"
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(Exception):
            self.make_stack(self.project).write_logs(folder)
        return folder if folder.exists() else None

    def stop_kept(self) -> None:
        """Remove the stack that stays from one session to the next."""
        if self._prefix in self._projects():
            self._remove(self._prefix)

    def _say(self, line: str) -> None:
        """A line of progress: a first start installs or builds for minutes."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if reporter and capture:
            with capture.global_and_fixture_disabled():
                reporter.write_line(f"windtunnel: {line}")


class StartFailed(Exception):
    """The stack cannot be started; the message says why."""


SESSION = pytest.StashKey[Session]()


def _is_usable(service: "Service") -> bool:
    """Ready, or not healthy by what was saved, which may be mended by now: that is looked at anew."""
    return service.ready or (service.state == "running" and service.definite)


def _ignore(_: str) -> None:
    """Take a line of the builder's output."""


@pytest.fixture(scope="session")
def windtunnel_settings() -> Mapping[str, str]:
    """Settings of the stack, for a ``conftest.py`` to replace: ``{"WEBSERVER_PORT": "8080"}``.

    By the names that the compose file has for them; they win over ``pyproject.toml``.
    """
    return {}


@pytest.fixture(scope="session")
def windtunnel(pytestconfig: pytest.Config, windtunnel_settings: Mapping[str, str]) -> "RunningStack":
    """The running stack; what can be done with it is in ``windtunnel.testing.stack.Stack``."""
    session = pytestconfig.stash[SESSION]
    session.settings = windtunnel_settings
    try:
        return session.start()
    except StartFailed as error:
        if session.is_worker:
            # An end of the worker would be an error of pytest-xdist.
            pytest.fail(str(error), pytrace=False)
        # No test can do without; each would try again.
        pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="session")
def run_dag(windtunnel: "RunningStack") -> "Callable[..., DagRun]":
    """Runs a DAG to its end: ``run_dag("my-dag", {"key": "value"})``."""
    return windtunnel.run_dag


@pytest.fixture(scope="session")
def aws_client(windtunnel: "RunningStack") -> Callable[[str], Any]:
    """Makes boto3 clients for the emulated AWS: ``aws_client("s3")``."""
    return windtunnel.aws


# What is undone after the test


@pytest.fixture
def _undone(pytestconfig: pytest.Config) -> Iterator[ExitStack]:
    try:
        with ExitStack() as undone:
            yield undone
    except Exception:
        pytestconfig.stash[SESSION].leave_undone()
        raise


@pytest.fixture
def set_connection(windtunnel: "RunningStack", _undone: ExitStack) -> Callable[..., None]:
    """Sets a connection of Airflow's, for this test: ``set_connection("db", "postgres", host="db.test")``."""
    return lambda *arguments, **fields: _undone.enter_context(windtunnel.connection(*arguments, **fields))


@pytest.fixture
def set_variable(windtunnel: "RunningStack", _undone: ExitStack) -> Callable[[str, Any], None]:
    """Sets a variable of Airflow's, for this test: ``set_variable("threshold", 3)``."""
    return lambda key, value: _undone.enter_context(windtunnel.variable(key, value))


@pytest.fixture
def set_pool(windtunnel: "RunningStack", _undone: ExitStack) -> Callable[[str, int], None]:
    """Sets a pool of Airflow's, for this test: ``set_pool("texts", 2)``."""
    return lambda name, slots: _undone.enter_context(windtunnel.pool(name, slots))


@pytest.fixture
def pause_dag(windtunnel: "RunningStack", _undone: ExitStack) -> Callable[[str], None]:
    """Pauses a DAG, for this test."""
    return lambda dag_id: _undone.enter_context(windtunnel.paused(dag_id))


@pytest.fixture
def unpause_dag(windtunnel: "RunningStack", _undone: ExitStack) -> Callable[[str], None]:
    """Unpauses a DAG, for this test."""
    return lambda dag_id: _undone.enter_context(windtunnel.unpaused(dag_id))


@pytest.fixture
def deploy_function(windtunnel: "RunningStack", _undone: ExitStack) -> Callable[[Path | str], str]:
    """Deploys the Lambda function of a folder, for this test, and returns its name."""
    return lambda folder: _undone.enter_context(windtunnel.deploy_function(folder))


@pytest.fixture
def stub_function(windtunnel: "RunningStack", _undone: ExitStack) -> "Callable[..., Stub]":
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
    running = item.config.stash[SESSION].running
    item.stash[RUNS] = len(running.runs) if running else 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[Any]") -> "Iterator[None]":
    """Gather what tells why a test that used the stack has failed."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    session = item.config.stash[SESSION]
    if report.failed and session.running and "windtunnel" in getattr(item, "fixturenames", ()):
        folder = session.evidence / _folder_name(item.nodeid)
        own = session.running.runs[item.stash.get(RUNS, 0) :]
        report.sections.append(("windtunnel", "\n".join(_bundle(session.running, folder, own))))
    return report  # type: ignore[return-value]


def _folder_name(nodeid: str) -> str:
    """A test's name as a folder's: of ids that are long or alike, the hash tells one from another."""
    name = re.sub(r"[^\w.-]+", "_", nodeid.rpartition("/")[2])
    return f"{name[:100]}-{hashlib.sha256(nodeid.encode()).hexdigest()[:8]}"


def _bundle(running: "RunningStack", folder: Path, runs: Sequence[Any]) -> list[str]:
    """Write the bundle; what is shown of it below the test."""
    from windtunnel.airflow_api.client import TELLING_LINES
    from windtunnel.diagnosis import evidence

    try:
        # The run, the task, and the end of that task's log, where the exception is.
        lines = evidence.write(running, folder, runs)[: 2 + TELLING_LINES]
    except OSError as error:
        return [f"{folder} cannot be written: {error}"]
    return [*lines, f"all of it: {folder}"]
