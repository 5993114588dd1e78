"""The stack as Docker Compose runs it, through the command ``docker``, which knows the user's context.

The project's name is Compose's own: that of the folder, or ``COMPOSE_PROJECT_NAME``. So ``docker compose``
and this module always talk about the same stack.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from windtunnel.services.probes import DEFINITE
from windtunnel.stack.base import (
    CLEAR_LINE,
    IS_IT_RUNNING,
    PORTS,
    ROOT,
    STATE,
    Advance,
    Progress,
    Service,
    Stack,
    StackError,
    ignore,
    tail,
)

# Lies over the stack while POSTGRES_PORT is set: without it the metadata database is not published.
POSTGRES_OVERLAY = Path("overlays") / "postgres-port.yml"

DEBIAN_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

# As docker stats writes sizes.
MEMORY_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

# The labels by which Compose marks what it makes.
PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"


class ComposeStack(Stack):
    """One project of Docker Compose."""

    name = "compose"

    def __init__(
        self,
        project: str | None = None,
        environment: Mapping[str, str] | None = None,
        files: Sequence[Path] = (),
        root: Path = ROOT,
        state: Path | None = None,
    ) -> None:
        """Start nothing yet.

        :param project: its name; Compose's own rule where None.
        :param environment: variables on top of this process's own: ports, folders, the image's name.
        :param files: further compose files, laid over the stack's own.
        :param root: the checkout, or what takes its place.
        :param state: as for any engine.
        """
        super().__init__(project, environment, root, state)
        # For builds behind a proxy that inspects TLS: they trust what this machine trusts.
        if not self.setting("CA_BUNDLE"):
            bundle = self.environment.get("SSL_CERT_FILE", DEBIAN_BUNDLE)
            if Path(bundle).exists():
                self.environment["CA_BUNDLE"] = bundle
        overlays = list(files)
        if self.setting("POSTGRES_PORT") and root / POSTGRES_OVERLAY not in overlays:
            overlays.append(root / POSTGRES_OVERLAY)
        if overlays:
            self.environment["COMPOSE_FILE"] = os.pathsep.join(map(str, [*self.base_files(), *overlays]))

    def popen(self, command: Sequence[str], **streams: Any) -> "subprocess.Popen[str]":
        """As for any engine; a missing ``docker`` is named."""
        try:
            return super().popen(command, **streams)
        except FileNotFoundError as error:
            raise StackError(
                f"there is no command `{command[0]}`",
                next_step="See ./windtunnel doctor, or install Docker Engine 25 or newer.",
            ) from error

    # What there is

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """The compose file as Compose understands it, every variable filled in.

        :raises StackError: when Compose refuses it.
        """
        text = self.run(
            "docker", "compose", "config", "--format", "json",
            what="reading the compose file",
            next_step="Correct the compose file or the variable that it names.",
        )  # fmt: skip
        return dict(json.loads(text))

    def variables(self, service: str) -> Mapping[str, str]:
        """What the compose file gives to a service; its image adds more."""
        return dict(self.configuration["services"][service].get("environment") or {})

    def services(self) -> list[Service]:
        """Every service of the compose file, also those without a container.

        :raises StackError: when the engine does not answer.
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
        except StackError as error:
            if "No such object" in error.output:  # it was removed since
                return
            raise
        for container in json.loads(inspected):
            yield _service(container)

    def port(self, service: str) -> int:
        """This machine's port for a service.

        :raises StackError: when it is not published or the service does not run.
        """
        published = self.run(
            "docker", "compose", "port", service, str(PORTS[service]),
            what=f"looking up the port of {service}", next_step=IS_IT_RUNNING,
        )  # fmt: skip
        port = int(published.strip().rpartition(":")[2] or 0)
        if not port:
            raise StackError(
                f"the port of {service} is not published",
                next_step="For the database set POSTGRES_PORT (0 for any free port).",
            )
        return port

    # What can be done with it

    def build(self, on_line: Callable[[str], None] = ignore) -> None:
        """Build the images; Docker's cache makes that short when nothing changed.

        :param on_line: gets each line of the builder's output.
        :raises StackError: with the end of that output.
        """
        self._bring_requirements()
        self.stream(
            "docker", "compose", "--progress", "plain", "build",
            what="building the images", on_line=on_line,
            next_step="The last lines above name the step. See ./windtunnel doctor.",
        )  # fmt: skip

    def _bring_requirements(self) -> None:
        """A build sees files of the checkout only: copy the user's REQUIREMENTS_FILE to where it does."""
        if not self.setting("REQUIREMENTS_FILE"):
            return
        source = self.requirements_file()
        target = self.root / STATE / "requirements.txt"
        target.parent.mkdir(exist_ok=True)
        if source != target:
            target.write_bytes(source.read_bytes())
        self.environment["REQUIREMENTS_FILE"] = str(target.relative_to(self.root))

    @contextlib.contextmanager
    def _starting(self, on_line: Callable[[str], None]) -> Iterator[Advance]:
        with tempfile.TemporaryFile("w+") as errors:
            process = self.popen(
                ["docker", "compose", "up", "--detach", "--no-build", "--remove-orphans"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
            )  # fmt: skip

            def advance(_: Sequence[Service]) -> Progress:
                exit_code = process.poll()
                if not exit_code:
                    return Progress(done=exit_code == 0)
                errors.seek(0)
                what = f"docker compose up failed (exit code {exit_code})"
                next_step = "See ./windtunnel status and doctor."
                return Progress(error=StackError(what, tail(errors.read()), next_step))

            try:
                yield advance
            finally:
                process.terminate()
                process.wait()

    def down(self, volumes: bool = False) -> None:
        """Stop and remove containers and network.

        :param volumes: also delete the database, the secrets, the S3 buckets and the local logs.
        :raises StackError: when something cannot be removed.
        """
        self.run(
            "docker", "compose", "down", "--remove-orphans",
            # Where nothing is kept, nothing needs time to stop.
            *(["--volumes", "--timeout", "0"] if volumes else []),
            what="stopping the stack", next_step="See ./windtunnel status.",
        )  # fmt: skip

    def exec(self, service: str, *argv: str, stdin: str | None = None) -> str:
        """Run a command in a service's container; its standard output."""
        return self.run(
            *self._exec(service), *argv,
            what=f"running {argv[0]} in {service}", stdin=stdin, next_step=IS_IT_RUNNING,
        )  # fmt: skip

    def run_in(
        self, service: str, *argv: str, on_line: Callable[[str], None], what: str, next_step: str
    ) -> None:
        """Run a command in a service's container, and hand over each line as it comes."""
        self.stream(*self._exec(service), *argv, what=what, on_line=on_line, next_step=next_step)

    @staticmethod
    def _exec(service: str) -> list[str]:
        return ["docker", "compose", "exec", "--no-TTY", service]

    def logs(self, *services: str, tail: int | None = None, timestamps: bool = False) -> str:
        """The services' logs so far, of all where none is named."""
        options = ["--no-log-prefix"] if len(services) == 1 else []
        options += ["--tail", str(tail)] if tail is not None else []
        options += ["--timestamps"] if timestamps else []
        command = ["docker", "compose", "logs", "--no-color", *options, *services]
        return self.run(*command, what="reading the logs").replace(CLEAR_LINE, "")

    def memory(self) -> dict[str, float]:
        """As ``docker stats`` tells it: without the files that are cached and can be dropped."""
        names = {service.id: service.name for service in self.services() if service.state == "running"}
        command = ["docker", "stats", "--no-stream", "--no-trunc", "--format", "{{json .}}", *names]
        lines = self.run(*command, what="asking for memory") if names else ""
        found: dict[str, float] = {}
        for line in lines.splitlines():
            of = json.loads(line)
            used = of["MemUsage"].split(" / ")[0]
            found[names[of["ID"]]] = float(used[:-3]) * MEMORY_UNITS[used[-3:]]
        return found

    def show_logs(
        self, service: str | None, *, follow: bool, tail: int | None, on_line: Callable[[str], None]
    ) -> None:
        """Hand over the lines of one service's log, or of all."""
        options = [*(["--follow"] if follow else []), *(["--tail", str(tail)] if tail is not None else [])]
        command = ["docker", "compose", "logs", *options, *([service] if service else [])]
        if sys.stdout.isatty():  # with Compose's colours
            if self.popen(command).wait():
                raise StackError("reading the logs failed", next_step=IS_IT_RUNNING)
            return
        self.stream(*command, what="reading the logs", on_line=on_line)


def _service(container: Mapping[str, Any]) -> Service:
    state = container["State"]
    health = state.get("Health") or {}
    probes = health.get("Log") or [{"Start": "", "Output": "", "ExitCode": 0}]
    return Service(
        name=container["Config"]["Labels"][SERVICE_LABEL],
        id=container["Id"],
        state=state["Status"],
        health=health.get("Status", ""),
        exit_code=state["ExitCode"],
        one_shot=container["HostConfig"]["RestartPolicy"]["Name"] in ("", "no"),
        started_at=state["StartedAt"],
        restarts=container.get("RestartCount", 0),
        probed_at=probes[-1]["Start"],
        health_output=probes[-1]["Output"].strip(),
        definite=probes[-1]["ExitCode"] == DEFINITE,
    )
