"""Where containers are put: the project's network, and what every one of them has and lacks."""

import logging
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker import APIClient
from docker.errors import APIError, DockerException, NotFound

from windtunnel.compose.labels import NUMBER_LABEL, ONE_OFF_LABEL, PROJECT_LABEL, SERVICE_LABEL
from windtunnel.waiting import WaitTimeout, wait_until

LOG = logging.getLogger(__name__)

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


# How long Docker may take to remove a container, in seconds.
REMOVE_PATIENCE = 20.0


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


def remove(api: APIClient, name: str) -> None:
    """Remove a container with its volumes, whatever it does; what stays is removed by the next agent."""

    def is_gone() -> bool:
        try:
            api.remove_container(name, v=True, force=True)
        except NotFound:
            return True
        except OSError as error:
            LOG.info("%s: %s", name, error)
        return False

    with suppress(WaitTimeout):
        wait_until(f"{name} to be gone", is_gone, timeout=REMOVE_PATIENCE, interval=0.1)


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
        """Return the labels of a container: to Compose it is the service's, and not to be looked after."""
        return {
            PROJECT_LABEL: self.project,
            SERVICE_LABEL: self.service,
            ONE_OFF_LABEL: "True",
            NUMBER_LABEL: "1",
            OWNER_LABEL: owner,
        }

    def made(self, api: APIClient, *labels: str) -> list[dict[str, Any]]:
        """Return the containers that this service has made, whoever asked for them, as Docker lists them.

        :param labels: further ones, as ``name=value``.
        """
        own = [f"{PROJECT_LABEL}={self.project}", f"{SERVICE_LABEL}={self.service}", f"{ONE_OFF_LABEL}=True"]
        return list(api.containers(all=True, filters={"label": [*own, *labels]}))

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
