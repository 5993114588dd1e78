"""Where containers are put: the project's network, and what every one of them has and lacks."""

import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker import APIClient
from docker.errors import APIError, DockerException

from windtunnel.compose.labels import NUMBER_LABEL, ONE_OFF_LABEL, PROJECT_LABEL, SERVICE_LABEL

SOCKET = Path("/var/run/docker.sock")

# Who asked for a container: the agent, or a caller of the proxy.
OWNER_LABEL = "windtunnel.owner"

# What programs need that begin as root and go on as a user of their own, and no more.
CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
)

# Tasks have a thread each, and each container has a call of Docker's that is open.
MOST_CALLS = 100


class NoDocker(Exception):
    """Docker does not answer; the message says why, and what to do."""


def connected(path: Path = SOCKET) -> APIClient:
    """Return Docker's client.

    :raises NoDocker: if there is no Docker, or this user may not talk to it.
    """
    try:
        group = path.stat().st_gid
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise NoDocker(f"{path} is no socket: set DOCKER_SOCKET to Docker's")
        if not os.access(path, os.R_OK | os.W_OK):
            raise NoDocker(
                f"{path} is not for this user: set DOCKER_GID={group}, the group that it belongs to"
            )
        return docker.APIClient(f"unix://{path}", version="auto", max_pool_size=MOST_CALLS)
    except (OSError, DockerException) as error:
        raise NoDocker(f"Docker does not answer at {path}: {error}") from error


def explanation(error: APIError) -> str:
    """Return Docker's own words."""
    return str(error.explanation or error)


@dataclass(frozen=True)
class Place:
    """The project that this process's container belongs to."""

    project: str
    service: str
    network: str
    image: str
    """That of this process's container."""

    @classmethod
    def of_this_container(cls, api: APIClient) -> "Place":
        """Find out by asking Docker about this process's container.

        :raises NoDocker: if it is in none of Compose's.
        """
        try:
            own = api.inspect_container(socket.gethostname())
            labels = own["Config"]["Labels"]
            network = next(iter(own["NetworkSettings"]["Networks"]))
            return cls(labels[PROJECT_LABEL], labels[SERVICE_LABEL], network, own["Image"])
        except (OSError, LookupError, StopIteration) as error:
            raise NoDocker(
                f"this is no container of Docker Compose ({error!r}): start it with Compose"
            ) from error

    def labels(self, owner: str) -> dict[str, str]:
        """Return the labels of a container; with these Compose's ``down`` removes it like the service's own."""
        return {
            PROJECT_LABEL: self.project,
            SERVICE_LABEL: self.service,
            ONE_OFF_LABEL: "True",
            NUMBER_LABEL: "1",
            OWNER_LABEL: owner,
        }

    @property
    def fence(self) -> dict[str, Any]:
        """What goes into every container's ``HostConfig``, whoever asks for it."""
        return {
            "NetworkMode": self.network,
            "CapDrop": ["ALL"],
            "CapAdd": list(CAPABILITIES),
            "SecurityOpt": ["no-new-privileges"],
            "RestartPolicy": {"Name": "no"},
            "Privileged": False,
        }
