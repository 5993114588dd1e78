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
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from windtunnel.compose import docker, images, resources
from windtunnel.compose.images import CA_SETTING
from windtunnel.compose.labels import (
    FOLDER_LABEL,
    NUMBER_LABEL,
    ONE_OFF_LABEL,
    PROJECT_LABEL,
    SERVICE_LABEL,
)
from windtunnel.services.probes import DEFINITE
from windtunnel.stack import offline, overlays, ports
from windtunnel.stack.base import IS_IT_RUNNING, Say, Stack
from windtunnel.stack.command import COMMAND
from windtunnel.stack.commands import CLEAR_LINE, tail
from windtunnel.stack.errors import Finding, StackError, Unmet
from windtunnel.stack.service import Service
from windtunnel.stack.settings import ENV_FILE_SETTING, PORTS
from windtunnel.stack.start import Advance, Progress

DEBIAN_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

EXEC = ("docker", "compose", "exec", "--no-TTY")

# Where an image has its venv.
VENVS = {"airflow": "/opt/venv", "localstack": "/opt/localstack"}


class ComposeStack(Stack):
    """One project of Docker Compose."""

    engine = "compose"

    @cached_property
    def command_variables(self) -> Mapping[str, str]:
        """The variables of every command: the settings, and what else Compose needs."""
        own = docker.socket_variables(self.settings)
        # For builds behind a proxy that inspects TLS: they trust what this machine trusts.
        bundle = self.settings.get(CA_SETTING) or self.settings.variables.get("SSL_CERT_FILE", DEBIAN_BUNDLE)
        if self.settings.get(CA_SETTING) or Path(bundle).exists():
            own[CA_SETTING] = bundle
        asked = any(port.overlay and self.settings.get(port.setting) for port in PORTS.values())
        if self.settings.overlays or asked:
            own["COMPOSE_FILE"] = os.pathsep.join(map(str, self.settings.compose_files()))
        if self.settings.get(ENV_FILE_SETTING):
            # Only to fill in the compose file: a DOCKER_HOST in there is for tasks.
            own["COMPOSE_ENV_FILES"] = str(self.settings.env_file)
        return {**self.settings.for_compose, **own}

    def popen(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[str]":
        """Start a command as any stack does; StackError if ``docker`` is missing."""
        try:
            return super().popen(command, **options)
        except FileNotFoundError as error:
            next_step = f"See {COMMAND} doctor, or install Docker Engine 25 or newer."
            raise StackError(f"there is no command `{command[0]}`", next_step=next_step) from error

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """The compose file as Compose understands it, every variable filled in."""
        text = self.run(
            "docker", "compose", "config", "--format", "json", what="reading the compose file",
            next_step="Correct the compose file or the variable that it names.",
        )  # fmt: skip
        return dict(json.loads(text))

    def variables(self, service: str) -> Mapping[str, str]:
        """Return what the compose file gives to a service; its image adds more."""
        return dict(self.configuration["services"][service].get("environment") or {})

    def services(self) -> list[Service]:
        """Return every service of the compose file, even if it has no container."""
        found = list(self._containers())
        numbered = {service.name for service in found if service.replica > 1}
        services = []
        for name in self.service_names:
            own = sorted((one for one in found if one.name == name), key=lambda one: one.replica)
            # Replicas are numbered from 1 on; a service that has one replica goes by its name alone.
            own = [one if name in numbered else replace(one, replica=0) for one in own]
            # Of one that is to have no replica, nothing is missing.
            if own or overlays.replicas(name, self.configuration, self.settings.scale):
                services += own or [Service(name)]
        return services

    def is_there(self) -> bool:
        """Whether a Docker Engine answers and has a container of this stack."""
        return docker.version(self) is not None and next(self._containers(), None) is not None

    def _containers(self) -> Iterator[Service]:
        filters = (f"label={PROJECT_LABEL}={self.project}", f"label={ONE_OFF_LABEL}=False")
        command = ("docker", "ps", "--all", "--quiet", *(f"--filter={one}" for one in filters))
        found = self.run(*command, what="asking the Docker Engine for containers").split()
        if not found:
            return
        try:
            what = "asking the Docker Engine about containers"
            inspected = self.run("docker", "inspect", *found, what=what)
        except StackError as error:
            if "No such object" in error.output:  # it was removed since
                return
            raise
        for container in json.loads(inspected):
            yield _service(container)

    def port(self, service: str) -> int:
        """Return this machine's port for a service, as Compose says it."""
        published = self.run(
            "docker", "compose", "port", service, str(PORTS[service].number),
            what=f"looking up the port of {service}", next_step=IS_IT_RUNNING,
        )  # fmt: skip
        port = int(published.strip().rpartition(":")[2] or 0)
        if not port:
            next_step = "For the database set POSTGRES_PORT (0 for any free port)."
            raise StackError(f"the port of {service} is not published", next_step=next_step)
        return port

    def get_engine(self, say: Say) -> None:
        """See to it that a Docker Engine answers and is new enough; install one as root on Debian."""
        if docker.version(self) is None and offline.is_debian_root():
            offline.run(self, "engine.sh", say=say)
        if findings := list(docker.version_findings(self)):
            raise Unmet(*findings)

    def findings(self) -> Iterator[Finding]:
        """Yield what keeps Compose from starting the stack."""
        yield from list(docker.version_findings(self)) or self._other_checkouts()

    def _other_checkouts(self) -> Iterator[Finding]:
        """Yield containers of the same project name that belong to another folder."""
        column = f'{{{{.Label "{FOLDER_LABEL}"}}}}'
        mine = f"label={PROJECT_LABEL}={self.project}"
        command = ("docker", "ps", "--all", "--filter", mine, "--format", column)
        listed = self.run(*command, what="asking the Docker Engine for containers")
        for other in sorted(set(listed.splitlines())):
            if other and Path(other).resolve() != self.root.resolve():
                yield Finding(
                    f"the project name {self.project} is in use by the checkout {other}",
                    f"Choose another for this one: export COMPOSE_PROJECT_NAME={self.project}-2",
                )

    def port_holder(self, service: str, port: int) -> str:
        """Return who else listens on a port: another project's container, or a program."""
        if not (holder := ports.holder(port)):
            return ""
        columns = f'{{{{.Names}}}} {{{{.Label "{PROJECT_LABEL}"}}}}'
        command = ("docker", "ps", "--filter", f"publish={port}", "--format", columns)
        listed = self.run(*command, what="asking the Docker Engine for containers")
        name, _, project = listed.partition("\n")[0].partition(" ")
        if name:
            return "" if project == self.project else f"the container {name}"
        return holder

    def has_parts(self) -> bool:
        """Return True: a container keeps its image by itself."""
        return True

    def get_parts(self, say: Say, on_line: Say) -> None:
        """Get the base images and build the stack's own; if all of it is cached, that takes a second."""
        images.build(self, say, on_line)

    def get_test_tools(self, parts: Sequence[str], say: Say, on_line: Say) -> None:
        """Build an image with pytest and mypy for each part."""
        images.build_for_tests(self, parts, say, on_line)

    def test_command(
        self, part: str, arguments: Sequence[str], folders: Sequence[str]
    ) -> tuple[list[str], Mapping[str, str]]:
        """Return a command in a part's test image, with no network; the image knows the folders."""
        command = [
            "docker", "run", "--rm", "--init", "--network", "none",
            "--volume", f"{self.root}:/checkout:ro", "--workdir", "/checkout",
            "--env", "MYPY_CACHE_DIR=/tmp/mypy", "--entrypoint", f"{VENVS[part]}/bin/python",
            images.for_tests(self, part), *arguments,
        ]  # fmt: skip
        return command, {}

    def ask_unstarted(self, question: str) -> Any:
        """Ask in a container of Airflow's image, with no network."""
        image = self.configuration["services"]["scheduler"]["image"]
        if images.missing(self, [image]):
            return None
        package = self.root / "src" / "windtunnel"
        answer = self.run(
            "docker", "run", "--rm", "--network", "none", "--entrypoint", "python",
            "--volume", f"{package}:/opt/windtunnel/windtunnel:ro", image,
            "-m", "windtunnel.services.answers", question, what="asking Airflow",
        )  # fmt: skip
        return json.loads(answer.splitlines()[-1])

    def resource_findings(self) -> Iterator[Finding]:
        """Yield files that containers may not read, and a lack of memory, disk or images."""
        return resources.findings(self)

    @contextlib.contextmanager
    def _starting(self, on_line: Say, names: Collection[str]) -> Iterator[Advance]:
        scale = [f"--scale={service}={number}" for service, number in self.settings.scale.items()]
        only = [] if set(names) == set(self.service_names) else ["--no-deps", *names]
        with tempfile.TemporaryFile("w+") as errors:
            process = self.popen(
                ["docker", "compose", "up", "--detach", "--no-build", "--remove-orphans", *scale, *only],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                env={**self.command_variables, **self._chosen_ports(on_line)},
            )  # fmt: skip

            def advance(_: Sequence[Service]) -> Progress:
                exit_code = process.poll()
                if not exit_code:
                    return Progress(done=exit_code == 0)
                errors.seek(0)
                what = f"docker compose up failed (exit code {exit_code})"
                next_step = f"See {COMMAND} status and doctor."
                return Progress(error=StackError(what, tail(errors.read()), next_step))

            try:
                yield advance
            finally:
                process.terminate()
                process.wait()

    def _chosen_ports(self, say: Say) -> dict[str, str]:
        """Let Docker choose a port if none is set and the usual one is taken."""
        chosen = {}
        for service, port in PORTS.items():
            is_free_to_choose = self.settings.usual_port(service) and not self.settings.get(port.setting)
            if is_free_to_choose and (by := self.port_holder(service, port.number)):
                say(f"port {port.number} is in use by {by}: {service} takes another")
                chosen[port.setting] = "0"
        return chosen

    def _remove(self, volumes: bool) -> None:
        # If nothing is kept, nothing needs time to stop.
        options = ["--volumes", "--timeout", "0"] if volumes else []
        command = ("docker", "compose", "down", "--remove-orphans", *options)
        what, next_step = "stopping the stack", f"See {COMMAND} status."
        self.run(*command, what=what, next_step=next_step)
        # What services have made and had no time to remove; then nothing holds the network any more.
        filters = (f"label={PROJECT_LABEL}={self.project}", f"label={ONE_OFF_LABEL}=True")
        listed = ("docker", "ps", "--all", "--quiet", *(f"--filter={one}" for one in filters))
        if left := self.run(*listed, what="asking the Docker Engine for containers").split():
            self.run("docker", "rm", "--force", "--volumes", *left, what=what, next_step=next_step)
            self.run(*command, what=what, next_step=next_step)

    def exec(self, service: str, *argv: str, stdin: str | None = None) -> str:
        """Run a command in a service's container and return its standard output."""
        what = f"running {argv[0]} in {service}"
        return self.run(*EXEC, service, *argv, what=what, stdin=stdin, next_step=IS_IT_RUNNING)

    def run_in(self, service: str, *argv: str, on_line: Say, what: str, next_step: str) -> None:
        """Run a command in a service's container, and hand over each line as it comes."""
        self.stream(*EXEC, service, *argv, what=what, on_line=on_line, next_step=next_step)

    def logs(self, *services: str, tail: int | None = None, timestamps: bool = False) -> str:
        """Return the services' logs so far, or all logs if no service is named."""
        options = ["--no-log-prefix"] if len(services) == 1 else []
        options += ["--tail", str(tail)] if tail is not None else []
        options += ["--timestamps"] if timestamps else []
        command = ["docker", "compose", "logs", "--no-color", *options, *services]
        return self.run(*command, what="reading the logs").replace(CLEAR_LINE, "")

    def memory(self) -> dict[str, float]:
        """Return what ``docker stats`` says, without cached files that can be dropped."""
        labels = {service.id: service.label for service in self.services() if service.state == "running"}
        if not labels:
            return {}
        command = ("docker", "stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.MemUsage}}")
        lines = self.run(*command, *labels, what="asking for memory").splitlines()
        used = (line.partition(" ") for line in lines)
        return {labels[container]: docker.size(memory) for container, _, memory in used}

    def show_logs(self, service: str | None, *, follow: bool, tail: int | None, on_line: Say) -> None:
        """Hand over the lines of one service's log, or of all; a terminal gets Compose's colours."""
        options = [*(["--follow"] if follow else []), *(["--tail", str(tail)] if tail is not None else [])]
        command = ["docker", "compose", "logs", *options, *([service] if service else [])]
        if sys.stdout.isatty():
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
        replica=int(container["Config"]["Labels"].get(NUMBER_LABEL, 0)),
    )
