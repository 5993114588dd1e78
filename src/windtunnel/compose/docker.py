"""The Docker Engine that a stack runs on: its version, its socket, sizes as it writes them."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress

from packaging.version import Version

from windtunnel.stack.base import Stack
from windtunnel.stack.errors import Finding, StackError
from windtunnel.stack.settings import GROUP_SETTING, SOCKET_SETTING, Settings

# `start_interval` in a health check came with this Engine, `required` of an `env_file` with this Compose.
OLDEST_ENGINE = Version("25")
OLDEST_COMPOSE = Version("2.24.0")

# Where Docker listens, unless ``DOCKER_HOST`` says otherwise.
DEFAULT_SOCKET = "/var/run/docker.sock"

# As `docker stats` writes sizes: binary units, and bytes.
_UNITS = {None: 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def version(stack: Stack) -> str | None:
    """Return the Engine's version; None if none answers."""
    command = ("docker", "version", "--format", "{{.Server.Version}}")
    try:
        return stack.run(*command, what="asking the Docker Engine").strip()
    except StackError:
        return None


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
        remedy = f"Install its plugin for the docker command, {OLDEST_COMPOSE} or newer."
        yield Finding("Docker Compose is missing", remedy)
        return
    if _release(plugin) < OLDEST_COMPOSE:
        yield Finding(f"Docker Compose {plugin} is too old", f"Install {OLDEST_COMPOSE} or newer.")


def socket_variables(settings: Settings) -> dict[str, str]:
    """Return ``DOCKER_SOCKET`` and ``DOCKER_GID``, its group, as far as the user has not set them.

    On other systems than Linux the Engine has a machine of its own, where the compose file's defaults hold.
    """
    if sys.platform != "linux":
        return {}
    scheme, _, path = settings.variables.get("DOCKER_HOST", "").partition("://")
    own = {SOCKET_SETTING: path} if scheme == "unix" and path else {}
    socket = settings.get(SOCKET_SETTING) or own.get(SOCKET_SETTING) or DEFAULT_SOCKET
    with suppress(OSError):
        own[GROUP_SETTING] = str(os.stat(socket).st_gid)
    return {name: value for name, value in own.items() if not settings.get(name)}


def size(text: str) -> float:
    """Return the bytes of what ``docker stats`` writes: ``12.5MiB / 23GiB``, ``0B / 0B``."""
    found = re.match(r"([\d.]+)([KMGT]i)?B", text)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


def _release(text: str) -> Version:
    # What follows the numbers is the distributor's: 26.1.5+dfsg1, v2.39.4-desktop.1.
    found = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return Version(found[1] if found else "0")
