"""The stack, whatever runs it: names, states and the start, which Docker Compose and the local engine share.

Everything else of this package talks to an ``Engine`` and does not ask which one it is.
"""

import contextlib
import json
import os
import subprocess
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

ROOT = Path(__file__).resolve().parents[3]

# The folder of all that is written on this machine, in the checkout.
STATE = ".windtunnel"

# The port of each service that this machine may talk to, as the compose file has it.
PORTS = {"webserver": 8080, "localstack": 4566, "postgres": 5432}

# The setting of each of these ports, and what holds without it; empty: not published.
PORT_SETTINGS = {
    "webserver": ("WEBSERVER_PORT", "8080"),
    "localstack": ("LOCALSTACK_PORT", "4566"),
    "postgres": ("POSTGRES_PORT", ""),
}

# How long a start may take at the slowest: seconds.
START_TIMEOUT = 180.0

# Between two looks at a starting stack, in seconds: one look costs about 0.05 s of one core.
POLL = 0.3

# So many of the last lines of a command or a log are part of an error.
TAIL = 15

# Compose puts this before lines of logs, also where there is no terminal.
CLEAR_LINE = "\x1b[2K"

IS_IT_RUNNING = "Is it running? See ./windtunnel status"


class StackError(Exception):
    """Something that an engine was to do has failed."""

    def __init__(self, what: str, output: str = "", next_step: str = "") -> None:
        """Put the parts together, a line or more each.

        :param what: what was tried, and on what.
        :param output: the end of what the command, or the service's log, said.
        :param next_step: what to do now.
        """
        super().__init__("\n".join(part for part in (what, output, next_step) if part))
        self.what = what
        self.output = output
        self.next_step = next_step


class ServiceFailed(StackError):
    """One part of the stack cannot become ready."""

    def __init__(self, service: str, what: str, output: str = "", next_step: str = "") -> None:
        """As for any failure.

        :param service: its name.
        """
        super().__init__(what, output, next_step)
        self.service = service


@dataclass(frozen=True)
class Service:
    """One service of the stack, as it is now."""

    name: str
    # The container's id, or the process's.
    id: str = ""
    # Docker's words: created, running, restarting, exited, paused, dead; "absent" where there is nothing.
    state: str = "absent"
    # starting, healthy or unhealthy; empty for a service without a health check.
    health: str = ""
    exit_code: int = 0
    # It is to end by itself, as `init` is.
    one_shot: bool = False
    started_at: str = ""
    # How often it has ended by itself and was started again since `up`.
    restarts: int = 0
    # The health check's last run: when, its output, and whether it says that waiting will not help.
    probed_at: str = ""
    health_output: str = ""
    definite: bool = False

    @property
    def ready(self) -> bool:
        """It does what it promises: healthy, or a one-shot that has done its work."""
        if self.one_shot:
            return self.state == "exited" and self.exit_code == 0
        return self.state == "running" and self.health in ("", "healthy")

    @property
    def failed(self) -> str:
        """Why it cannot become ready by waiting; empty when it may."""
        if self.state in ("exited", "restarting", "dead") and not self.ready:
            return f"ended with exit code {self.exit_code}"
        if self.definite or self.health == "unhealthy":
            return f"is not healthy: {self.health_output}"
        return ""

    @property
    def summary(self) -> str:
        """State in a word or two: ``healthy``, ``starting``, ``done``, ``exited with code 2``."""
        if self.state == "exited":
            return "done" if self.ready else f"exited with code {self.exit_code}"
        return self.health if self.state == "running" and self.health else self.state


@dataclass(frozen=True)
class Progress:
    """How far an engine is with starting services."""

    # Everything is started; what is still to come is up to the services.
    done: bool = False
    # It cannot go on, for this reason.
    error: StackError | None = None


# Takes the services as they were seen last, and goes on with the start.
Advance = Callable[[Sequence[Service]], Progress]


def ignore(_: str) -> None:
    """Take a line and do nothing with it."""


def tail(text: str) -> str:
    """The last lines of a text, as many as belong into an error."""
    return "\n".join(text.strip().splitlines()[-TAIL:])


class Stack(ABC):
    """One stack of a checkout, and what can be done with it."""

    # As `--engine` takes it.
    name: ClassVar[str]

    def __init__(
        self,
        project: str | None = None,
        environment: Mapping[str, str] | None = None,
        root: Path = ROOT,
        state: Path | None = None,
    ) -> None:
        """Start nothing yet.

        :param project: its name; Compose's own rule where None.
        :param environment: variables on top of this process's own: ports, folders, the image's name.
        :param root: the checkout, or what takes its place.
        :param state: where environments and data are kept; ``.windtunnel`` in the checkout where None.
        """
        self.root = root
        self.state = state or root / STATE
        self.environment = {**os.environ, **(environment or {})}
        if project:
            self.environment["COMPOSE_PROJECT_NAME"] = project

    def setting(self, name: str) -> str:
        """A variable as Compose sees it: from the environment, else the checkout's ``.env``, else empty."""
        if name in self.environment:
            return self.environment[name]
        file = self.root / ".env"
        for line in file.read_text().splitlines() if file.exists() else ():
            key, separator, value = line.partition("=")
            if separator and key.strip() == name:
                return value.strip().strip("'\"")
        return ""

    def requirements_file(self) -> Path:
        """What the user's DAGs need beyond the lock.

        :raises StackError: when it cannot be read.
        """
        path = (
            self.root / Path(self.setting("REQUIREMENTS_FILE") or "requirements.txt").expanduser()
        ).resolve()
        try:
            path.open("rb").close()
        except OSError as error:
            raise StackError(
                f"REQUIREMENTS_FILE {path} cannot be read: {error.strerror}",
                next_step="Correct the path; it is relative to the checkout.",
            ) from error
        return path

    def base_files(self) -> list[Path]:
        """The compose files that are read when nothing else is asked for."""
        if named := self.setting("COMPOSE_FILE"):
            return [self.root / name for name in named.split(os.pathsep)]
        standard = (self.root / "docker-compose.yml", self.root / "docker-compose.override.yml")
        return [path for path in standard if path.exists()]

    # Commands

    def popen(self, command: Sequence[str], **streams: Any) -> "subprocess.Popen[str]":
        """Start a command in the checkout with the stack's settings."""
        environment = streams.pop("env", self.environment)
        return subprocess.Popen(command, cwd=self.root, env=environment, text=True, **streams)  # noqa: S603

    def run(
        self,
        *command: str,
        what: str,
        next_step: str = "",
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """Run a command in the checkout; its standard output.

        :param stdin: what it reads; nothing where None.
        :param env: its environment; the stack's settings where None.
        :raises StackError: when it fails, with ``what`` and the end of its standard error.
        """
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = self.popen(command, **streams, **({"env": env} if env is not None else {}))
        output, errors = process.communicate(stdin)
        if process.returncode != 0:
            raise StackError(
                f"{what} failed (exit code {process.returncode})", tail(errors or output), next_step
            )
        return output

    def stream(
        self,
        *command: str,
        what: str,
        on_line: Callable[[str], None],
        next_step: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Run a command as ``run`` does, and hand over each line of its output and its errors as it comes.

        :raises StackError: when it fails, with the last of these lines.
        """
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = self.popen(command, **streams, **({"env": env} if env is not None else {}))
        lines: deque[str] = deque(maxlen=TAIL)
        with stopping(process):
            for line in process.stdout or ():
                lines.append(line.rstrip().removeprefix(CLEAR_LINE))
                on_line(lines[-1])
        if process.wait() != 0:
            raise StackError(
                f"{what} failed (exit code {process.returncode})", tail("\n".join(lines)), next_step
            )

    # What there is

    @property
    @abstractmethod
    def configuration(self) -> dict[str, Any]:
        """The compose file with every variable filled in.

        :raises StackError: when it cannot be used.
        """

    @property
    def project(self) -> str:
        """The project's name."""
        return str(self.configuration["name"])

    @property
    def service_names(self) -> list[str]:
        """The services in the order in which they start."""
        return sorted(
            self.configuration["services"],
            key=lambda name: (len(dependencies(self.configuration, name)), name),
        )

    @abstractmethod
    def variables(self, service: str) -> Mapping[str, str]:
        """The environment that a service gets from this stack."""

    @abstractmethod
    def services(self) -> list[Service]:
        """Every service of the compose file, also those that do not run.

        :raises StackError: when the engine does not answer.
        """

    def is_running(self, service: str) -> bool:
        """Whether a service runs, healthy or not."""
        return any(found.name == service and found.state == "running" for found in self.services())

    @abstractmethod
    def port(self, service: str) -> int:
        """This machine's port for one of the services in ``PORTS``.

        :raises StackError: when it is not published or the service does not run.
        """

    def address(self, service: str) -> str:
        """A service's address on this machine: ``http://127.0.0.1:8080``; for ``postgres`` host and port.

        :raises StackError: as ``port`` does.
        """
        address = f"127.0.0.1:{self.port(service)}"
        return address if service == "postgres" else f"http://{address}"

    def login(self) -> tuple[str, str]:
        """User and password of the web page.

        :raises StackError: when the webserver does not run.
        """
        user, password = self.ask("webserver", "login")
        return user, password

    def ask(self, service: str, question: str, *arguments: str) -> Any:
        """What ``windtunnel.services.answers`` answers where a service runs.

        :raises StackError: when the service does not run.
        """
        answer = self.exec(service, "python", "-m", "windtunnel.services.answers", question, *arguments)
        return json.loads(answer.splitlines()[-1])

    # What can be done with it

    def up(self, on_line: Callable[[str], None] = ignore, timeout: float = START_TIMEOUT) -> None:
        """Start the stack and return when every service is ready.

        :param on_line: gets one line each time that a service's state changes.
        :param timeout: seconds.
        :raises ServiceFailed: as soon as one service cannot become ready, with the end of its log. What does
            not depend on it goes on.
        :raises StackError: when the engine itself fails.
        """
        start = time.monotonic()
        before = services = self.services()
        shown = {service.name: service.summary for service in before}
        with self._starting(on_line) as advance:
            while True:
                # Asked before the services: what they say afterwards is then the outcome.
                progress = advance(services)
                services = self.services()
                fresh = services if progress.error else list(_fresh(services, before, ended=progress.done))
                for service in fresh:
                    if service.state != "created" and shown[service.name] != service.summary:
                        shown[service.name] = service.summary
                        on_line(f"{service.name:<14} {service.summary:<10} {time.monotonic() - start:5.1f} s")
                if progress.done and all(service.ready for service in services):
                    return
                failed = next((service for service in fresh if service.failed), None)
                ended = progress.done or progress.error
                # What does not depend on the failed one is to run all the same.
                if failed and (ended or not self._unstarted(services, failed.name)):
                    raise self._failure(failed, failed.failed)
                if progress.error:
                    raise progress.error
                if time.monotonic() - start > timeout:
                    late = next(service for service in services if not service.ready)
                    reason = late.health_output or late.summary
                    raise self._failure(late, f"is not ready after {timeout:g} s: {reason}")
                time.sleep(POLL)

    @abstractmethod
    def _starting(self, on_line: Callable[[str], None]) -> AbstractContextManager[Advance]:
        """Begin a start; what the block gets goes on with it."""

    def _unstarted(self, services: Sequence[Service], failed: str) -> list[str]:
        """What is still to be started though a service has failed: what does not depend on that one."""
        return [
            service.name
            for service in services
            if service.state in ("absent", "created")
            and failed not in dependencies(self.configuration, service.name)
        ]

    def _failure(self, service: Service, what: str) -> ServiceFailed:
        # A health check that is definite says all there is to say.
        log = "" if service.definite else tail(self.logs(service.name, tail=TAIL))
        next_step = f"Its log: ./windtunnel logs {service.name}"
        return ServiceFailed(service.name, f"{service.name} {what}", log, next_step)

    @abstractmethod
    def down(self, volumes: bool = False) -> None:
        """Stop the stack, and remove what it leaves behind.

        :param volumes: also delete the database, the secrets, the S3 buckets and the local logs.
        :raises StackError: when something cannot be removed.
        """

    @abstractmethod
    def run_in(
        self, service: str, *argv: str, on_line: Callable[[str], None], what: str, next_step: str
    ) -> None:
        """Run a command where a service runs, as ``exec`` does, and hand over each line as it comes.

        :raises StackError: when it fails.
        """

    @abstractmethod
    def exec(self, service: str, *argv: str, stdin: str | None = None) -> str:
        """Run a command where a service runs, with its environment; its standard output.

        :param stdin: what it reads; secrets go this way, so that no process list shows them.
        :raises StackError: when it fails.
        """

    @abstractmethod
    def logs(self, *services: str, tail: int | None = None, timestamps: bool = False) -> str:
        """The services' logs so far, of all where none is named.

        :param tail: that many of the last lines of each.
        :param timestamps: put the engine's time before each line, where it knows one.
        """

    @abstractmethod
    def memory(self) -> dict[str, float]:
        """Bytes that each service uses now, as the engine counts them; what is beside the services, too.

        :raises StackError: when the engine does not answer.
        """

    @abstractmethod
    def show_logs(
        self, service: str | None, *, follow: bool, tail: int | None, on_line: Callable[[str], None]
    ) -> None:
        """Hand over the lines of one service's log, or of all.

        :param follow: go on as lines are written, until interrupted.
        :param tail: only that many of the last lines of each.
        """

    def write_logs(self, folder: Path) -> None:
        """Write each service's log with timestamps to a file of its name in ``folder``, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.service_names:
            (folder / f"{name}.log").write_text(self.logs(name, timestamps=True))


@contextlib.contextmanager
def stopping(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Leave no child behind when the block ends early, by Ctrl-C for example."""
    try:
        yield
    except BaseException:
        process.terminate()
        process.wait()
        raise


def _fresh(services: Iterable[Service], before: Iterable[Service], *, ended: bool) -> Iterator[Service]:
    """Those whose state says something about this start; a health check's last answer may be older than it.

    :param before: how it was at its beginning.
    :param ended: the engine has done its part. Until then, what it stops it is about to replace.
    """
    old = {(service.id, service.started_at): service for service in before}
    for service in services:
        was = old.get((service.id, service.started_at))
        replaced = was is not None and not ended and service.state != "running"
        if was != service and not replaced:
            yield service


def dependencies(configuration: Mapping[str, Any], name: str) -> set[str]:
    """The services that one waits for, directly or through others."""
    direct = set(configuration["services"][name].get("depends_on", {}))
    return direct.union(*(dependencies(configuration, other) for other in direct))
