"""The Docker Engine: its version, its images, its ports, and how it and they are got."""

import re
import subprocess
import threading
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

# How long a registry may take to say that it has the image, in seconds.
REGISTRY_TIMEOUT = 20.0

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

    # Images

    def missing(self, images: Iterable[str]) -> list[str]:
        """Return those of the images that the Engine does not have."""
        return [image for image in images if not self._has(image)]

    def _has(self, image: str) -> bool:
        command = ("docker", "image", "inspect", "--format", "{{.Id}}", image)
        try:
            self._stack.run(*command, what="looking for an image")
        except StackError:
            return False
        return True

    def base_images(self) -> list[str]:
        """Return the images that come from elsewhere: of services, and those of the Dockerfile."""
        services = self._stack.configuration["services"].values()
        built = {service["image"] for service in services if "build" in service}
        dockerfile = (self._stack.root / "Dockerfile").read_text()
        stages = re.findall(r"^FROM\s+\S+\s+AS\s+(\S+)", dockerfile, re.MULTILINE)
        started_from = set(re.findall(r"^FROM\s+(\S+)", dockerfile, re.MULTILINE)) - set(stages)
        return sorted({service["image"] for service in services} - built | started_from)

    def get_base_images(self, say: "Say") -> None:
        """Pull the base images; if no registry answers, make images of the same names.

        :raises Unmet: if neither can be done.
        """
        missing = []
        for image in self.missing(self.base_images()):
            say(f"pulling {image}")
            if not self.pull(image):
                missing.append(image)
        if missing and not offline.is_debian_root():
            raise Unmet(
                Finding(
                    f"no registry has {', '.join(missing)} for us",
                    "Check the network, or bring the images: docker save … | docker load; "
                    "on Debian, as root, offline/images.sh makes them.",
                )
            )
        if missing:
            offline.run(self._stack, "images.sh", *missing, say=say)

    def pull(self, image: str) -> bool:
        """Pull an image; False if no registry has it or none answers within ``REGISTRY_TIMEOUT``."""
        try:
            process = subprocess.Popen(  # noqa: S603
                ["docker", "pull", image],  # noqa: S607
                env=self._stack.command_variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except FileNotFoundError:
            return False
        # The first line comes once the registry has answered; from then on only the image's size counts.
        impatience = threading.Timer(REGISTRY_TIMEOUT, process.terminate)
        impatience.start()
        try:
            for _ in process.stdout or ():
                impatience.cancel()
        finally:
            impatience.cancel()
        return process.wait() == 0

    def registry_has(self, image: str) -> bool:
        """Whether a registry has an image; False if none answers within ``REGISTRY_TIMEOUT``."""
        command = ["docker", "manifest", "inspect", image]
        try:
            answer = subprocess.run(command, capture_output=True, timeout=REGISTRY_TIMEOUT, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            return False
        return answer.returncode == 0

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
