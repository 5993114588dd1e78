"""The abstract stack: what can be done with one, whichever engine runs it.

Everything else of this package talks to a ``Stack`` and does not ask which engine it runs on.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

from windtunnel.stack import overlays
from windtunnel.stack.command import COMMAND
from windtunnel.stack.commands import TAIL, Commands, tail
from windtunnel.stack.commands import Say as Say
from windtunnel.stack.errors import Finding, ServiceFailed, Unmet
from windtunnel.stack.service import Service
from windtunnel.stack.start import START_TIMEOUT, Advance, Start

IS_IT_RUNNING = f"Is it running? See {COMMAND} status"


def ignore(_: str) -> None:
    """Take a line and do nothing with it."""


class Stack(Commands, ABC):
    """The services of one project. Methods raise StackError if the engine does not answer."""

    # The engine that runs it, as `--engine` takes it.
    engine: ClassVar[str]

    @property
    def state_folder(self) -> Path:
        """The folder for venvs and data."""
        return self.settings.state_folder

    # What there is

    @property
    @abstractmethod
    def configuration(self) -> dict[str, Any]:
        """The compose file with every variable filled in; StackError if it cannot be used."""

    @property
    def project(self) -> str:
        """The project's name."""
        return str(self.configuration["name"])

    @property
    def service_names(self) -> list[str]:
        """The services in the order in which they start."""
        return sorted(self.configuration["services"], key=lambda name: (len(self.dependencies(name)), name))

    @property
    def log_names(self) -> list[str]:
        """The names of all logs: of the services, and of what an engine runs beside them."""
        return self.service_names

    def dependencies(self, name: str) -> set[str]:
        """Return the services that one waits for, directly or through others."""
        direct = set(self.configuration["services"][name].get("depends_on", {}))
        return direct.union(*map(self.dependencies, direct))

    @abstractmethod
    def variables(self, service: str) -> Mapping[str, str]:
        """Return the variables that a service gets from this stack."""

    @abstractmethod
    def services(self) -> list[Service]:
        """Return every service of the compose file, even if it does not run."""

    @abstractmethod
    def is_there(self) -> bool:
        """Whether anything of this stack runs, or is left of it, on this engine."""

    def is_running(self, service: str) -> bool:
        """Whether a service runs, healthy or not."""
        return any(found.name == service and found.state == "running" for found in self.services())

    @abstractmethod
    def port(self, service: str) -> int:
        """Return this machine's port for one of the services in ``PORTS``.

        :raises StackError: if it is not published or the service does not run.
        """

    def address(self, service: str) -> str:
        """Return ``http://127.0.0.1:8080``, for ``postgres`` host and port alone; raises as ``port`` does."""
        address = f"127.0.0.1:{self.port(service)}"
        return address if service == "postgres" else f"http://{address}"

    def login(self) -> tuple[str, str]:
        """Return user and password of the web page; StackError if the webserver does not run."""
        user, password = self.ask("webserver", "login")
        return user, password

    def python_of_functions(self) -> str:
        """Return the runtime of this stack's functions, which is LocalStack's own Python: ``python3.13``."""
        version = "import sys; print('python{}.{}'.format(*sys.version_info))"
        return self.exec("localstack", "python", "-c", version).strip()

    def ask(self, service: str, question: str, *arguments: str) -> Any:
        """Return what ``windtunnel.services.answers`` answers inside a service.

        :raises StackError: if the service does not run.
        """
        answer = self.exec(service, "python", "-m", "windtunnel.services.answers", question, *arguments)
        return json.loads(answer.splitlines()[-1])

    # Before a start

    @abstractmethod
    def get_engine(self, say: Say) -> None:
        """Install what runs the stack if it is missing.

        :raises Unmet: if it is missing and cannot be installed.
        """

    @abstractmethod
    def findings(self) -> Iterator[Finding]:
        """Yield what keeps this engine from starting the stack."""

    @abstractmethod
    def port_holder(self, service: str, port: int) -> str:
        """Return who else listens on the port that a service is to have; empty if nobody does."""

    @abstractmethod
    def has_parts(self) -> bool:
        """Whether what the running stack was started from is still there."""

    @abstractmethod
    def get_parts(self, say: Say, on_line: Say) -> None:
        """Get the images or venvs that are missing.

        :param on_line: gets each line of a builder's output.
        :raises Unmet: if a base image can be neither pulled nor made.
        :raises StackError: if a build or an installation fails.
        """

    @abstractmethod
    def get_test_tools(self, parts: Sequence[str], say: Say, on_line: Say) -> None:
        """Get pytest and mypy for parts of the stack, and these parts if they are missing.

        :param parts: ``airflow``, ``localstack``.
        :param on_line: gets each line of a builder's output.
        """

    @abstractmethod
    def test_command(
        self, part: str, arguments: Sequence[str], folders: Sequence[str]
    ) -> tuple[list[str], Mapping[str, str]]:
        """Return a command for the Python of a part that runs tests or checks types, and extra variables.

        :param part: ``airflow`` or ``localstack``.
        :param arguments: of that Python.
        :param folders: folders of the checkout in which it finds modules.
        """

    @abstractmethod
    def ask_unstarted(self, question: str) -> Any:
        """Return what ``ask`` does, from Airflow's Python without a running stack; None if it is missing."""

    @abstractmethod
    def resource_findings(self) -> Iterator[Finding]:
        """Yield what this machine lacks: memory, disk, images, access to files."""

    def warnings(self) -> list[Finding]:
        """Return what makes the running stack slower but does not keep it from working."""
        return []

    # What can be done with it

    def up(self, on_line: Say = ignore, timeout: float = START_TIMEOUT, only: Collection[str] = ()) -> None:
        """Start the stack and return when every service is ready.

        :param on_line: gets one line each time that a service's state changes.
        :param timeout: seconds.
        :param only: the services to start, in a stack that runs; all if none is named.
        :raises ServiceFailed: as soon as one service cannot become ready, with the end of its log. Services
            that do not depend on it go on.
        :raises StackError: if the engine itself fails.
        """
        overlays.remember(self.settings)
        start = Start(self, on_line, timeout)
        with self._starting(on_line, only or self.service_names) as advance:
            start.watch(advance)

    def scaled(self, scale: Mapping[str, int]) -> Self:
        """Return this stack with other numbers of replicas; ``up`` starts and stops what that changes.

        :param scale: the number of replicas, by service; other services keep theirs.
        :raises windtunnel.stack.errors.Unmet: if a service is not there or cannot have that many.
        """
        if found := list(overlays.scale_findings(scale, self.configuration)):
            raise Unmet(*found)
        return type(self)(replace(self.settings, scale={**self.settings.scale, **scale}))

    @abstractmethod
    def _starting(self, on_line: Say, names: Collection[str]) -> AbstractContextManager[Advance]:
        """Begin a start of some services; what the block gets goes on with it."""

    def failure(self, service: Service, what: str) -> ServiceFailed:
        """Return the error of a service that cannot become ready.

        :param what: what is wrong with it, as the rest of a sentence.
        """
        # A definite health check says all there is to say.
        log = "" if service.definite else tail(self.logs(service.name, tail=TAIL))
        next_step = f"Its log: {COMMAND} logs {service.name}"
        return ServiceFailed(service.name, f"{service.label} {what}", log, next_step)

    def down(self, volumes: bool = False) -> None:
        """Stop the stack, and remove what it leaves behind.

        :param volumes: also delete the database, the secrets, the S3 buckets and the local logs.
        :raises StackError: if something cannot be removed.
        """
        self._remove(volumes)
        overlays.forget(self.settings)

    @abstractmethod
    def _remove(self, volumes: bool) -> None: ...

    @abstractmethod
    def run_in(self, service: str, *argv: str, on_line: Say, what: str, next_step: str) -> None:
        """Run a command inside a service, as ``exec`` does, and hand over each line as it comes.

        :raises StackError: if it fails.
        """

    @abstractmethod
    def exec(self, service: str, *argv: str, stdin: str | None = None) -> str:
        """Run a command inside a service, with its variables, and return its standard output.

        :param stdin: what it reads; secrets go this way, so that no process list shows them.
        :raises StackError: if it fails.
        """

    @abstractmethod
    def logs(self, *services: str, tail: int | None = None, timestamps: bool = False) -> str:
        """Return the services' logs so far, or all logs if no service is named.

        :param tail: that many of the last lines of each.
        :param timestamps: put the engine's time before each line, if it knows one.
        """

    @abstractmethod
    def memory(self) -> dict[str, float]:
        """Return the bytes that each service, and what runs beside them, uses as the engine counts."""

    @abstractmethod
    def show_logs(self, service: str | None, *, follow: bool, tail: int | None, on_line: Say) -> None:
        """Hand over the lines of one service's log, or of all.

        :param follow: go on as lines are written, until interrupted.
        :param tail: only that many of the last lines of each.
        """

    def write_logs(self, folder: Path) -> None:
        """Write each service's log with timestamps to a file of its name in ``folder``, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.service_names:
            (folder / f"{name}.log").write_text(self.logs(name, timestamps=True))
