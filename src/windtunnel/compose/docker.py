"""The Docker Engine that a stack runs on: its version, containers and limits, and how it is installed."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.version import Version

from windtunnel.stack import offline
from windtunnel.stack.base import Say, Stack
from windtunnel.stack.errors import Finding, StackError, Unmet

# `start_interval` in a health check came with Engine 25, and with this Compose.
OLDEST_ENGINE = Version("25")
OLDEST_COMPOSE = Version("2.20.2")

# The labels by which Compose marks what it makes.
PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
FOLDER_LABEL = "com.docker.compose.project.working_dir"
NUMBER_LABEL = "com.docker.compose.container-number"

# As `docker stats` writes sizes: binary units, and bytes.
_SIZE = re.compile(r"([\d.]+)([KMGT]i)?B")
_UNITS = {None: 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def version(stack: Stack) -> str | None:
    """Return the Engine's version; None if none answers."""
    command = ("docker", "version", "--format", "{{.Server.Version}}")
    try:
        return stack.run(*command, what="asking the Docker Engine").strip()
    except StackError:
        return None


def get(stack: Stack, say: Say) -> None:
    """See to it that an Engine answers and is new enough.

    :raises Unmet: if there is none, and none can be installed here.
    """
    if version(stack) is None and offline.is_debian_root():
        offline.run(stack, "engine.sh", say=say)
    if findings := list(version_findings(stack)):
        raise Unmet(*findings)


def version_findings(stack: Stack) -> Iterator[Finding]:
    """Yield an Engine or a Compose that is missing or too old."""
    engine = version(stack)
    if engine is None:
        remedy = "Install Docker Engine 25 or newer and start it; on Debian, as root: offline/engine.sh"
        yield Finding("no Docker Engine answers", remedy)
        return
    if _release(engine) < OLDEST_ENGINE:
        yield Finding(f"Docker Engine {engine} is too old", "Install Docker Engine 25 or newer.")
    command = ("docker", "compose", "version", "--short")
    try:
        plugin = stack.run(*command, what="asking for Compose").strip()
    except StackError:
        remedy = "Install its plugin for the docker command, 2.20.2 or newer."
        yield Finding("Docker Compose is missing", remedy)
        return
    if _release(plugin) < OLDEST_COMPOSE:
        yield Finding(f"Docker Compose {plugin} is too old", "Install 2.20.2 or newer.")


def container_on(stack: Stack, port: int) -> tuple[str, str]:
    """Return name and Compose project of the container that publishes a port; empty if none does."""
    columns = f'{{{{.Names}}}} {{{{.Label "{PROJECT_LABEL}"}}}}'
    command = ("docker", "ps", "--filter", f"publish={port}", "--format", columns)
    listed = stack.run(*command, what="asking the Docker Engine for containers")
    name, _, project = listed.partition("\n")[0].partition(" ")
    return name, project


def memory(stack: Stack, containers: Iterable[str]) -> dict[str, float]:
    """Return the bytes that each container uses, without cached files that can be dropped.

    :param containers: their ids; one that is gone has 0.
    """
    command = ("docker", "stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.MemUsage}}")
    lines = stack.run(*command, *containers, what="asking for memory").splitlines()
    return {container: size(used) for container, _, used in (line.partition(" ") for line in lines)}


def limits(stack: Stack) -> tuple[int, Path]:
    """Return the Engine's memory in bytes, and the folder where it keeps images."""
    command = ("docker", "info", "--format", "{{.MemTotal}} {{.DockerRootDir}}")
    total, _, folder = stack.run(*command, what="asking the Docker Engine").strip().partition(" ")
    return int(total), Path(folder)


def size(text: str) -> float:
    """Return the bytes of what ``docker stats`` writes: ``12.5MiB / 23GiB``, ``0B / 0B``."""
    found = _SIZE.match(text)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


def _release(text: str) -> Version:
    # What follows the numbers is the distributor's: 26.1.5+dfsg1, v2.39.4-desktop.1.
    found = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return Version(found[1] if found else "0")
