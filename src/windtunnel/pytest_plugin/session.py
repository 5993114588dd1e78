"""The stack of one pytest session: the first test that asks for it starts it."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from windtunnel import locks
from windtunnel.pytest_plugin.record import Record, Records
from windtunnel.stack import requirements
from windtunnel.stack.errors import StackError, Unmet
from windtunnel.stack.repository import PATHS, WITH_SETTING, Repository

# Everything else is imported when a test wants a stack: pytest starts in other repositories, too.
if TYPE_CHECKING:
    from windtunnel.stack.base import Stack
    from windtunnel.stack.service import Service
    from windtunnel.testing.stack import RunningStack

__tracebackhide__ = True  # pytest shows the test's line that failed, and not the way through here


class Session:
    """The stack of one pytest session, or of one worker of it."""

    def __init__(self, config: pytest.Config) -> None:
        """Start nothing yet."""
        self._config = config
        paths = {key: path for key in PATHS if (path := config.getoption(f"windtunnel_{key}"))}
        self.repository = Repository(config.rootpath, paths, tuple(config.getoption("windtunnel_with") or ()))
        self.records = Records(self.repository.state_folder)
        # The session stops no stack, and takes one that another session has left.
        self.stays = bool(config.getoption("windtunnel_reuse"))
        # The stack that stays from one session to the next. Images of all sessions are named after it.
        place = hashlib.sha256(str(config.rootpath).encode()).hexdigest()[:8]
        self.kept_project = f"pytest-{place}"
        # Only a worker of pytest-xdist has it.
        worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        self.is_worker = worker is not None
        own = self.kept_project if self.stays else f"{self.kept_project}-{os.getpid()}"
        # The stack of this session, and the session's own name. All workers have the same.
        self.project: str = worker["windtunnel_project"] if worker else own
        self.id: str = worker["windtunnel_session"] if worker else f"{os.getpid()} {time.time()}"
        # Open and locked as long as this process uses the stack.
        self._use: IO[str] | None = None
        self.running: RunningStack | None = None
        # Settings on top of the repository's.
        self.overrides: Mapping[str, str] = {}
        # What went wrong at the end.
        self.problem = ""

    @property
    def evidence(self) -> Path:
        """The folder of the bundles of failed tests."""
        return self.repository.state_folder / "evidence" / self.project

    def settings(self) -> dict[str, str]:
        """Return the stack's settings: ports, then what repository and options say, then the overrides.

        :raises StackError: if the configuration cannot be used.
        """
        settings = {"WEBSERVER_PORT": "0", "LOCALSTACK_PORT": "0", **self.repository.settings()}
        if engine := self._config.getoption("windtunnel_engine"):
            settings["WINDTUNNEL_ENGINE"] = engine
        return {**settings, **self.overrides}

    def make_stack(self, project: str, *, starting: bool = False) -> "Stack":
        """Return one of the repository's stacks, with the engine and the overlays that it runs with.

        :param starting: with the overlays that are set now.
        :raises StackError: if the configuration cannot be used; Unmet if an overlay cannot.
        """
        from windtunnel.stack import checkout, choose

        settings = self.settings()
        engine = settings.pop("WINDTUNNEL_ENGINE", None)
        # The images serve every session of the repository.
        image = os.environ.get("WINDTUNNEL_IMAGE") or self.kept_project
        state_folder = self.repository.state_folder
        return choose.choose(
            self.records.read(project).engine or engine,
            project=project,
            variables={"WINDTUNNEL_IMAGE": image, **settings},
            starting=starting,
            root=checkout.stack_root(state_folder),
            state_folder=state_folder,
        ).stack

    def start(self) -> "RunningStack":
        """Return the running stack; the first worker that wants it starts it, the others wait.

        :raises StackError: naming the part that fails, for this worker or for another one.
        """
        from windtunnel.seeding.validation import SeedingError
        from windtunnel.testing.stack import RunningStack

        # If the configuration cannot be used, nothing is written.
        self.settings()
        with self.records.exclusively():
            self._use = self.records.lock(self.project)
            alone = locks.try_exclusive(self._use)
            locks.share(self._use)
            record = self.records.read(self.project)
            if record.session != self.id:
                try:
                    record = self._make_ready(record, alone)
                except (StackError, SeedingError, Unmet) as error:
                    record = replace(self.records.read(self.project), failure=self._why(error))
                record = replace(record, session=self.id)
                self.records.write(self.project, record)
        if record.failure:
            raise StackError(record.failure)
        self.running = RunningStack(self.make_stack(self.project))
        return self.running

    def _make_ready(self, record: Record, alone: bool) -> Record:
        """Start the stack, or see to it that a kept one is as the repository says now.

        :param alone: no other session uses it.
        """
        from windtunnel.testing.stack import RunningStack

        resources = self.repository.resources()
        record = self._remove_unusable(record, alone)
        running = RunningStack(self.make_stack(self.project))
        stack, fingerprint = running.stack, self._fingerprint(running.stack)
        users = [*record.users, self.id]
        ready = replace(
            record, engine=stack.engine, was_ready=True, fingerprint=fingerprint, failure=None, users=users
        )
        as_wanted = record.fingerprint == fingerprint
        if as_wanted and stack.has_parts() and all(map(_is_usable, stack.services())):
            running.wait_for_saved_files()
            if errors := running.airflow.import_error_lines():
                raise StackError("DAG files with import errors:", "\n".join(errors), "Correct the file.")
        else:
            self._require(alone, "has to be started again")
            self._start(record, ready)
        self.records.write(self.project, ready)
        running.create_resources(resources)
        return ready

    def _remove_unusable(self, record: Record, alone: bool) -> Record:
        """Remove a stack on another engine, or an unclean one, and return what is known afterwards."""
        wanted = self.settings().get("WINDTUNNEL_ENGINE", record.engine)
        other_engine = record.engine and record.engine != wanted
        # If nobody holds the lock of a stack, the sessions that use it were killed.
        unclean = alone and (record.unclean or record.users)
        if not (other_engine or unclean):
            return record
        self._require(alone, f"runs on the engine {record.engine}")
        if not other_engine:
            self._say("a session was killed, or could not undo what a test had set: starting from nothing")
        self._remove(self.project)
        return Record()

    def _start(self, record: Record, ready: Record) -> None:
        """Start the stack, on the data of a kept one; ``ready`` is what is known once it is ready."""
        from windtunnel.diagnosis import preflight

        self._remove_abandoned()
        starting = replace(ready, was_ready=record.was_ready, fingerprint=None)
        if not record.was_ready:
            self.records.write(self.project, starting)
        stack = self.make_stack(self.project, starting=True)
        # Before a running stack is stopped.
        preflight.check(stack, self._say)
        stack.get_parts(self._say, lambda _: None)
        if record.was_ready:
            self.records.write(self.project, starting)
            # Some settings, airflow.cfg's for example, are read at a start only.
            self.make_stack(self.project).down()
            stack = self.make_stack(self.project, starting=True)
        stack.up()

    def _require(self, alone: bool, why: str) -> None:
        if not alone:
            raise StackError(
                f"{self.project} is used by another session of pytest, and {why}",
                next_step="Wait for its end, or leave out --windtunnel-reuse.",
            )

    def _fingerprint(self, stack: "Stack") -> str:
        """Return a hash of all that a running stack does not take up by itself."""
        from windtunnel.stack.settings import PLUGINS_VERSION

        digest = hashlib.sha256(json.dumps(sorted(self.settings().items())).encode())
        config = stack.settings.get("CONFIG_FOLDER")
        files = sorted(path for path in Path(config).rglob("*") if path.is_file()) if config else []
        overlays = [Path(name) for name in self.settings().get(WITH_SETTING, "").split(",") if "/" in name]
        if stack.settings.env_file.is_file():
            overlays.append(stack.settings.env_file)
        digest.update(stack.settings.for_compose[PLUGINS_VERSION].encode())
        for path in (*requirements.files(stack.settings.requirements_file()), *files, *overlays):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def _why(self, error: Exception) -> str:
        """Write the logs of a stack that does not start, and return what the session ends with."""
        from windtunnel.stack.command import COMMAND

        parts = [str(error)]
        if isinstance(error, Unmet):
            parts = [part for finding in error.findings for part in (finding.problem, finding.remedy)]
        elif isinstance(error, StackError):
            folder = self.evidence / "start"
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with suppress(Exception):
                self.make_stack(self.project).write_logs(folder)
            # A command would be for another project.
            step = "" if f"{COMMAND} " in error.next_step else error.next_step
            parts = [error.what, error.output, step, f"Logs: {folder}" if folder.exists() else ""]
        return "\n".join(filter(None, ["the stack is not ready:", *parts]))

    def _say(self, line: str) -> None:
        """Print a line of progress: a first start installs or builds for minutes."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if reporter and capture:
            with capture.global_and_fixture_disabled():
                reporter.write_line(f"windtunnel: {line}")

    def finish(self) -> None:
        """Remove the stack, unless it is to stay and was ready once."""
        if self.is_worker or self.project not in self.records.projects():
            return
        with self.records.exclusively():
            record = self.records.read(self.project)
            if self.stays and self.id not in record.users:
                return
            if self.stays and record.was_ready:
                users = [user for user in record.users if user != self.id]
                self.records.write(self.project, replace(record, users=users))
                return
            self._remove(self.project)
            self.records.remove_lock(self.project)

    def mark_unclean(self) -> None:
        """Let the next session start from nothing: something that a test has set is still there."""
        if self.project in self.records.projects():
            with self.records.exclusively():
                record = self.records.read(self.project)
                self.records.write(self.project, replace(record, unclean=True))

    def stop_kept(self) -> None:
        """Remove the stack that stays from one session to the next."""
        if self.kept_project in self.records.projects():
            self._remove(self.kept_project)

    def _remove_abandoned(self) -> None:
        """Remove what killed sessions of this repository have left, but not the stack that stays."""
        for project in self.records.projects():
            if project not in (self.kept_project, self.project):
                with self.records.lock(project) as lock:
                    if locks.try_exclusive(lock):
                        self._remove(project)
                        self.records.remove_lock(project)

    def _remove(self, project: str) -> None:
        if self.records.read(project).engine:
            self.make_stack(project).down(volumes=True)
        self.records.remove(project)


SESSION = pytest.StashKey[Session]()


def _is_usable(service: "Service") -> bool:
    """Whether it is ready, or unhealthy because of a saved file, which may be correct by now."""
    return service.ready or (service.state == "running" and service.definite)
