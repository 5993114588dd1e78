"""The Docker Engine: its version, its containers, its limits, and how it is installed."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from windtunnel.stack import offline
from windtunnel.stack.errors import Finding, StackError, Unmet

if TYPE_CHECKING:
    from windtunnel.stack.base import Say, Stack

# `start_interval` in a health check came with Engine 25.
OLDEST_ENGINE = Version("25")

# The first Compose that knows `start_interval`.
OLDEST_COMPOSE = Version("2.20.2")

# The labels by which Compose marks what it makes.
PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
FOLDER_LABEL = "com.docker.compose.project.working_dir"
NUMBER_LABEL = "com.docker.compose.container-number"

# As `docker stats` writes sizes: binary units, and bytes.
_SIZE = re.compile(r"([\d.]+)([KMGT]i)?B")
_UNITS = {None: 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class Docker:
    """The Docker Engine that the command ``docker`` talks to."""

    def __init__(self, stack: "Stack") -> None:
        """Ask nothing yet.

        :param stack: whose settings and checkout count.
        """
        self._stack = stack

    def version(self) -> str | None:
        """Return the Engine's version; None if none answers."""
        command = ("docker", "version", "--format", "{{.Server.Version}}")
        try:
            return self._stack.run(*command, what="asking the Docker Engine").strip()
        except StackError:
            return None

    def get(self, say: "Say") -> None:
        """See to it that an Engine answers and is new enough.

        :raises Unmet: if there is none, and none can be installed here.
        """
        if self.version() is None and offline.is_debian_root():
            offline.run(self._stack, "engine.sh", say=say)
        if findings := list(self.version_findings()):
            raise Unmet(*findings)

    def version_findings(self) -> Iterator[Finding]:
        """Yield an Engine or a Compose that is missing or too old."""
        engine = self.version()
        if engine is None:
            yield Finding(
                "no Docker Engine answers",
                "Install Docker Engine 25 or newer and start it; on Debian, as root: offline/engine.sh",
            )
            return
        if _release(engine) < OLDEST_ENGINE:
            yield Finding(f"Docker Engine {engine} is too old", "Install Docker Engine 25 or newer.")
        command = ("docker", "compose", "version", "--short")
        try:
            plugin = self._stack.run(*command, what="asking for Compose").strip()
        except StackError:
            yield Finding(
                "Docker Compose is missing", "Install its plugin for the docker command, 2.20.2 or newer."
            )
            return
        if _release(plugin) < OLDEST_COMPOSE:
            yield Finding(f"Docker Compose {plugin} is too old", "Install 2.20.2 or newer.")

    def container_on(self, port: int) -> tuple[str, str] | None:
        """Return name and Compose project of the container that publishes a port."""
        columns = f'{{{{.Names}}}} {{{{.Label "{PROJECT_LABEL}"}}}}'
        command = ("docker", "ps", "--filter", f"publish={port}", "--format", columns)
        listed = self._stack.run(*command, what="asking the Docker Engine for containers")
        name, _, project = listed.partition("\n")[0].partition(" ")
        return (name, project) if name else None

    def memory(self, containers: Iterable[str]) -> dict[str, float]:
        """Return the bytes that each container uses, without cached files that can be dropped.

        :param containers: their ids; one that is gone has 0.
        """
        command = ("docker", "stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.MemUsage}}")
        lines = self._stack.run(*command, *containers, what="asking for memory").splitlines()
        return {container: size(used) for container, _, used in (line.partition(" ") for line in lines)}

    def limits(self) -> tuple[int, Path]:
        """Return the Engine's memory in bytes, and the folder where it keeps images."""
        command = ("docker", "info", "--format", "{{.MemTotal}} {{.DockerRootDir}}")
        memory, _, folder = self._stack.run(*command, what="asking the Docker Engine").strip().partition(" ")
        return int(memory), Path(folder)


def size(text: str) -> float:
    """Return the bytes of what ``docker stats`` writes: ``12.5MiB / 23GiB``, ``0B / 0B``."""
    found = _SIZE.match(text)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


def _release(text: str) -> Version:
    # What follows the numbers is the distributor's: 26.1.5+dfsg1, v2.39.4-desktop.1.
    found = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return Version(found[1] if found else "0")
