"""The stack as Docker Compose runs it, through the command ``docker``, which knows the user's context.

The project's name is Compose's own: that of the folder, or ``COMPOSE_PROJECT_NAME``. So ``docker compose``
and this module always talk about the same stack.
"""

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from windtunnel.health import DEFINITE

ROOT = Path(__file__).resolve().parents[2]

# The port of each service that a host may talk to, inside its container.
PORTS = {"webserver": 8080, "localstack": 4566, "postgres": 5432}

# Lies over the stack while POSTGRES_PORT is set: without it the metadata database is not published.
POSTGRES_OVERLAY = ROOT / "overlays" / "postgres-port.yml"

# How long a start may take at the slowest: seconds.
START_TIMEOUT = 180.0

# Between two looks at a starting stack, in seconds: one look costs about 0.05 s of one core.
POLL = 0.3

# So many of the last lines of a command or a log are part of an error.
TAIL = 15

# Compose puts this before lines of logs, also where there is no terminal.
CLEAR_LINE = "\x1b[2K"

DEBIAN_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

# Where Airflow keeps the web page's users.
PASSWORDS = "/run/secrets/windtunnel/simple_auth_manager_passwords.json"

IS_IT_RUNNING = "Is it running? See ./windtunnel status"

# The labels by which Compose marks what it makes.
PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"


class ComposeError(Exception):
    """A command of Docker Compose failed."""

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


class ServiceFailed(ComposeError):
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
    container: str = ""
    # Docker's words: created, running, restarting, exited, paused, dead; "absent" without a container.
    state: str = "absent"
    # starting, healthy or unhealthy; empty for a service without a health check.
    health: str = ""
    exit_code: int = 0
    # It is to end by itself, as `init` is.
    one_shot: bool = False
    started_at: str = ""
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


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-TAIL:])


def _ignore(_: str) -> None:
    pass


class Compose:
    """One project of Docker Compose."""

    def __init__(
        self,
        project: str | None = None,
        environment: Mapping[str, str] | None = None,
        files: Sequence[Path] = (),
        root: Path = ROOT,
    ) -> None:
        """Start nothing yet.

        :param project: its name; Compose's own rule where None.
        :param environment: variables on top of this process's own: ports, folders, the image's name.
        :param files: further compose files, laid over the stack's own.
        :param root: the checkout.
        """
        self.root = root
        self.environment = {**os.environ, **(environment or {})}
        if project:
            self.environment["COMPOSE_PROJECT_NAME"] = project
        # For builds behind a proxy that inspects TLS: they trust what this machine trusts.
        if not self.setting("CA_BUNDLE"):
            bundle = self.environment.get("SSL_CERT_FILE", DEBIAN_BUNDLE)
            if Path(bundle).exists():
                self.environment["CA_BUNDLE"] = bundle
        overlays = list(files)
        if self.setting("POSTGRES_PORT") and POSTGRES_OVERLAY not in overlays:
            overlays.append(POSTGRES_OVERLAY)
        if overlays:
            self.environment["COMPOSE_FILE"] = os.pathsep.join(map(str, [*self._base_files(), *overlays]))

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

    def _base_files(self) -> list[Path | str]:
        """What Compose reads when it is told nothing else."""
        if named := self.setting("COMPOSE_FILE"):
            return list(named.split(os.pathsep))
        standard = (self.root / "docker-compose.yml", self.root / "docker-compose.override.yml")
        return [path for path in standard if path.exists()]

    # The command

    def _popen(self, command: Sequence[str], **streams: Any) -> "subprocess.Popen[str]":
        try:
            return subprocess.Popen(command, cwd=self.root, env=self.environment, text=True, **streams)  # noqa: S603
        except FileNotFoundError as error:
            raise ComposeError(
                "there is no command `docker`",
                next_step="See ./windtunnel doctor, or install Docker Engine 25 or newer.",
            ) from error

    def run(self, *command: str, what: str, next_step: str = "", stdin: str | None = None) -> str:
        """Run a command in the checkout with the stack's environment; its standard output.

        :raises ComposeError: when it fails, with ``what`` and the end of its standard error.
        """
        process = self._popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        output, errors = process.communicate(stdin)
        if process.returncode != 0:
            raise ComposeError(
                f"{what} failed (exit code {process.returncode})", _tail(errors or output), next_step
            )
        return output

    def stream(self, *command: str, what: str, on_line: Callable[[str], None], next_step: str = "") -> None:
        """Run a command as ``run`` does, and hand over each line of its output and its errors as it comes.

        :raises ComposeError: when it fails, with the last of these lines.
        """
        process = self._popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        lines: deque[str] = deque(maxlen=TAIL)
        with stopping(process):
            for line in process.stdout or ():
                lines.append(line.rstrip().removeprefix(CLEAR_LINE))
                on_line(lines[-1])
        if process.wait() != 0:
            raise ComposeError(
                f"{what} failed (exit code {process.returncode})", _tail("\n".join(lines)), next_step
            )

    # What there is

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """The compose file as Compose understands it, every variable filled in.

        :raises ComposeError: when Compose refuses it.
        """
        text = self.run(
            "docker", "compose", "config", "--format", "json",
            what="reading the compose file",
            next_step="Correct the compose file or the variable that it names.",
        )  # fmt: skip
        return dict(json.loads(text))

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

    def services(self) -> list[Service]:
        """Every service of the compose file, also those without a container.

        :raises ComposeError: when the engine does not answer.
        """
        found = {service.name: service for service in self._containers()}
        return [found.get(name, Service(name)) for name in self.service_names]

    def _containers(self) -> Iterator[Service]:
        label = f"label={PROJECT_LABEL}={self.project}"
        oneoff = "label=com.docker.compose.oneoff=False"
        listing = self.run(
            "docker",
            "ps",
            "--all",
            "--quiet",
            "--filter",
            label,
            "--filter",
            oneoff,
            what="asking the engine for containers",
        )
        if not listing.split():
            return
        try:
            inspected = self.run(
                "docker", "inspect", *listing.split(), what="asking the engine about containers"
            )
        except ComposeError as error:
            if "No such object" in error.output:  # it was removed since
                return
            raise
        for container in json.loads(inspected):
            yield _service(container)

    def port(self, service: str, container_port: int) -> int:
        """The host's port for a service's port.

        :raises ComposeError: when it is not published or the service does not run.
        """
        published = self.run(
            "docker", "compose", "port", service, str(container_port),
            what=f"looking up port {container_port} of {service}", next_step=IS_IT_RUNNING,
        )  # fmt: skip
        port = int(published.strip().rpartition(":")[2] or 0)
        if not port:
            raise ComposeError(
                f"port {container_port} of {service} is not published",
                next_step="For the database set POSTGRES_PORT (0 for any free port).",
            )
        return port

    def address(self, service: str) -> str:
        """A service's address on this machine: ``http://127.0.0.1:8080``; for ``postgres`` host and port.

        :raises ComposeError: as ``port`` does.
        """
        address = f"127.0.0.1:{self.port(service, PORTS[service])}"
        return address if service == "postgres" else f"http://{address}"

    def login(self) -> tuple[str, str]:
        """User and password of the web page.

        :raises ComposeError: when the webserver does not run.
        """
        passwords = self.exec("webserver", "cat", PASSWORDS)
        user, password = next(iter(json.loads(passwords).items()))
        return user, password

    # What can be done with it

    def build(self, on_line: Callable[[str], None] = _ignore) -> None:
        """Build the images; Docker's cache makes that short when nothing changed.

        :param on_line: gets each line of the builder's output.
        :raises ComposeError: with the end of that output.
        """
        self._bring_requirements()
        self.stream(
            "docker", "compose", "--progress", "plain", "build",
            what="building the images", on_line=on_line,
            next_step="The last lines above name the step. See ./windtunnel doctor.",
        )  # fmt: skip

    def _bring_requirements(self) -> None:
        """A build sees files of the checkout only: copy the user's REQUIREMENTS_FILE to where it does."""
        named = self.setting("REQUIREMENTS_FILE")
        if not named:
            return
        source = self.root / Path(named).expanduser()
        target = self.root / ".windtunnel" / "requirements.txt"
        target.parent.mkdir(exist_ok=True)
        try:
            content = source.read_bytes()
        except OSError as error:
            raise ComposeError(
                f"REQUIREMENTS_FILE {source} cannot be read: {error.strerror}",
                next_step="Correct the path; it is relative to the checkout.",
            ) from error
        if source != target:
            target.write_bytes(content)
        self.environment["REQUIREMENTS_FILE"] = str(target.relative_to(self.root))

    def up(self, on_line: Callable[[str], None] = _ignore, timeout: float = START_TIMEOUT) -> None:
        """Start the stack and return when every service is ready.

        :param on_line: gets one line each time that a service's state changes.
        :param timeout: seconds.
        :raises ServiceFailed: as soon as one service cannot become ready, with the end of its log. What does
            not depend on it goes on.
        :raises ComposeError: when Compose itself fails.
        """
        start = time.monotonic()
        before = self.services()
        shown = {service.name: service.summary for service in before}
        with tempfile.TemporaryFile("w+") as errors, self._starting(errors) as process:
            while True:
                # Asked before the services: what they say afterwards is then the outcome.
                exit_code = process.poll()
                services = self.services()
                fresh = services if exit_code else list(_fresh(services, before, ended=exit_code == 0))
                for service in fresh:
                    if service.state != "created" and shown[service.name] != service.summary:
                        shown[service.name] = service.summary
                        on_line(f"{service.name:<14} {service.summary:<10} {time.monotonic() - start:5.1f} s")
                if exit_code == 0 and all(service.ready for service in services):
                    return
                failed = next((service for service in fresh if service.failed), None)
                # What does not depend on the failed one is to run all the same.
                if failed and (exit_code is not None or not self._unstarted(services, failed.name)):
                    raise self._failure(failed, failed.failed)
                if exit_code:
                    errors.seek(0)
                    what = f"docker compose up failed (exit code {exit_code})"
                    raise ComposeError(what, _tail(errors.read()), "See ./windtunnel status and doctor.")
                if time.monotonic() - start > timeout:
                    late = next(service for service in services if not service.ready)
                    reason = late.health_output or late.summary
                    raise self._failure(late, f"is not ready after {timeout:g} s: {reason}")
                time.sleep(POLL)

    @contextlib.contextmanager
    def _starting(self, errors: IO[str]) -> Iterator["subprocess.Popen[str]"]:
        process = self._popen(
            ["docker", "compose", "up", "--detach", "--no-build", "--remove-orphans"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            process.wait()

    def _unstarted(self, services: Sequence[Service], failed: str) -> list[str]:
        """What Compose has still to start though a service has failed: what does not depend on that one."""
        return [
            service.name
            for service in services
            if service.state in ("absent", "created")
            and failed not in dependencies(self.configuration, service.name)
        ]

    def _failure(self, service: Service, what: str) -> ServiceFailed:
        # A health check that is definite says all there is to say.
        log = "" if service.definite else _tail(self.logs(service.name, tail=TAIL))
        next_step = f"Its log: ./windtunnel logs {service.name}"
        return ServiceFailed(service.name, f"{service.name} {what}", log, next_step)

    def down(self, volumes: bool = False) -> None:
        """Stop and remove containers and network.

        :param volumes: also delete the database, the secrets and the local logs.
        :raises ComposeError: when something cannot be removed.
        """
        self.run(
            "docker", "compose", "down", "--remove-orphans", *(["--volumes"] if volumes else []),
            what="stopping the stack", next_step="See ./windtunnel status.",
        )  # fmt: skip

    def exec(self, service: str, *argv: str, stdin: str | None = None) -> str:
        """Run a command in a service's container; its standard output.

        :param stdin: what it reads; secrets go this way, so that no process list shows them.
        :raises ComposeError: when it fails.
        """
        return self.run(
            "docker", "compose", "exec", "--no-TTY", service, *argv,
            what=f"running {argv[0]} in {service}", stdin=stdin, next_step=IS_IT_RUNNING,
        )  # fmt: skip

    def logs(self, *services: str, tail: int | None = None, timestamps: bool = False) -> str:
        """The services' logs so far, of all where none is named.

        :param tail: that many of the last lines of each.
        :param timestamps: put the engine's time before each line.
        """
        options = ["--no-log-prefix"] if len(services) == 1 else []
        options += ["--tail", str(tail)] if tail is not None else []
        options += ["--timestamps"] if timestamps else []
        command = ["docker", "compose", "logs", "--no-color", *options, *services]
        return self.run(*command, what="reading the logs").replace(CLEAR_LINE, "")

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
    :param ended: Compose has done its part. Until then, what it stops it is about to replace.
    """
    old = {(service.container, service.started_at): service for service in before}
    for service in services:
        was = old.get((service.container, service.started_at))
        replaced = was is not None and not ended and service.state != "running"
        if was != service and not replaced:
            yield service


def dependencies(configuration: Mapping[str, Any], name: str) -> set[str]:
    """The services that one waits for, directly or through others."""
    direct = set(configuration["services"][name].get("depends_on", {}))
    return direct.union(*(dependencies(configuration, other) for other in direct))


def _service(container: Mapping[str, Any]) -> Service:
    state = container["State"]
    health = state.get("Health") or {}
    probes = health.get("Log") or [{"Start": "", "Output": "", "ExitCode": 0}]
    return Service(
        name=container["Config"]["Labels"][SERVICE_LABEL],
        container=container["Id"],
        state=state["Status"],
        health=health.get("Status", ""),
        exit_code=state["ExitCode"],
        one_shot=container["HostConfig"]["RestartPolicy"]["Name"] in ("", "no"),
        started_at=state["StartedAt"],
        probed_at=probes[-1]["Start"],
        health_output=probes[-1]["Output"].strip(),
        definite=probes[-1]["ExitCode"] == DEFINITE,
    )
