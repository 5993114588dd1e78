"""Runs containers of ECS and Batch as containers of Docker's."""

import logging
import os
import shutil
import signal as signals
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from docker import APIClient
from docker.errors import APIError, ImageNotFound, NotFound
from docker.utils import parse_repository_tag

from windtunnel.agent.container import MIB
from windtunnel.agent.runtime import CannotStart, Exit
from windtunnel.docker_agent.following import Following
from windtunnel.docker_agent.place import OWNER_LABEL, Place, explanation, remove
from windtunnel.waiting import WaitTimeout, wait_until

LOG = logging.getLogger(__name__)

OWNER = "agent"
TASK_LABEL = "windtunnel.task"

# What a container has unless its definition says otherwise, as one on AWS finds AWS without any setting.
SURROUNDINGS = (
    "AWS_ENDPOINT_URL",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_EC2_METADATA_DISABLED",
)

# Docker's own least, in bytes; a container that has less is not made.
LEAST_MEMORY = 6 * MIB
# Docker's period of the scheduler, in microseconds, and its least shares.
PERIOD = 100_000
LEAST_SHARES = 2

# A container's log is read once, to its end, and must be whole until then: Docker must not begin it anew.
LOG_OF_DOCKER = {"Type": "json-file", "Config": {"max-size": "1t"}}


class DockerRuntime:
    """Runs containers, each of which is known to Docker by the project, the task and its own name."""

    def __init__(self, api: APIClient, place: Place, tasks: Path) -> None:
        """Take up the containers of an earlier agent, and remove those whose task has no folder any more.

        :param tasks: the folder of the folders of tasks.
        """
        self._api = api
        self._place = place
        self._following = Following(api)
        # So that of two containers of a task only one makes what holds their network.
        self._making = threading.Lock()
        for found in self._of_agent():
            if not (tasks / found["Labels"].get(TASK_LABEL, "")).is_dir():
                LOG.info("removing %s, whose task is gone", found["Names"])
                remove(self._api, found["Id"])

    def start(self, container: Mapping[str, Any], folder: Path, cpu: int | None) -> None:
        """Start a container; its image is pulled if it is not there.

        :param container: its definition, and as ``task`` what its task has.
        :param folder: its own, which outlives this process.
        :param cpu: as in `Runtime`; the share and the quota come from the definition and the task.
        :raises CannotStart: if Docker cannot do it, with Docker's words.
        """
        name = self._name(folder)
        remove(self._api, name)  # what is left of an agent that was killed in this moment
        configuration = self._configuration(container, folder)
        self._create(name, configuration)
        try:
            self._api.start(name)
        except APIError as error:
            remove(self._api, name)
            reason = f"CannotStartContainerError: Error response from daemon: {explanation(error)}"
            raise CannotStart(reason) from error
        (folder / "begun").touch()

    def _configuration(self, container: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        given = {name: os.environ[name] for name in SURROUNDINGS if name in os.environ}
        task = folder.parent.name
        return {
            "Image": container["image"],
            "Entrypoint": container["entry_point"] or None,
            "Cmd": container["command"] or None,
            "Env": [f"{name}={value}" for name, value in {**given, **container["environment"]}.items()],
            "WorkingDir": container["working_directory"] or "",
            "User": container.get("user") or "",
            # ECS looks at the health check of the definition alone.
            "Healthcheck": {"Test": ["NONE"]},
            "Labels": {**self._place.labels(OWNER), TASK_LABEL: task},
            "HostConfig": {
                **self._place.fence,
                **_limits(container),
                "NetworkMode": self._network(task, container["task"]["size"]),
                "LogConfig": LOG_OF_DOCKER if container["logs"] else {"Type": "none"},
            },
        }

    def _network(self, task: str, size: int) -> str:
        """Return the network of a container: the project's, or the one that all of a task's share."""
        if size == 1:
            return self._place.network
        name = f"{self._place.project}-{task}"
        configuration = {
            "Image": self._place.image,
            "Entrypoint": ["sleep"],
            "Cmd": ["infinity"],
            "Labels": {**self._place.labels(OWNER), TASK_LABEL: task},
            "HostConfig": {**self._place.fence, "LogConfig": {"Type": "none"}, "Memory": LEAST_MEMORY},
        }
        with self._making:
            try:
                self._api.inspect_container(name)
            except NotFound:
                self._create(name, configuration)
            # It does nothing if it runs.
            self._api.start(name)
        return f"container:{name}"

    def _create(self, name: str, configuration: Mapping[str, Any]) -> None:
        try:
            try:
                self._api.create_container_from_config(configuration, name)  # type: ignore[no-untyped-call]
            except ImageNotFound:
                self._pull(configuration["Image"])
                self._api.create_container_from_config(configuration, name)  # type: ignore[no-untyped-call]
        except APIError as error:
            reason = f"CannotCreateContainerError: Error response from daemon: {explanation(error)}"
            raise CannotStart(reason) from error

    def _pull(self, image: str) -> None:
        repository, tag = parse_repository_tag(image)
        try:
            # Docker tells of a failure in the midst of its answer, too.
            for told in self._api.pull(repository, tag or "latest", stream=True, decode=True):
                if "error" in told:
                    raise CannotStart(
                        f"CannotPullContainerError: Error response from daemon: {told['error']}"
                    )
        except APIError as error:
            reason = f"CannotPullContainerError: Error response from daemon: {explanation(error)}"
            raise CannotStart(reason) from error
        except OSError as error:
            raise CannotStart(f"CannotPullContainerError: {error}") from error

    def has_begun(self, folder: Path) -> bool:
        """Return whether a container was started, by whichever agent."""
        if (folder / "begun").exists():
            return True
        try:
            return bool(self._api.inspect_container(self._name(folder))["State"]["Status"] != "created")
        except NotFound:
            return False

    def exit(self, folder: Path) -> Exit | None:
        """Return how a container has ended; None while it runs, or its output is not whole."""
        return self._following.exit(self._name(folder), folder)

    def signal(self, folder: Path, number: int) -> bool:
        """Send a signal to a container; return whether it was there to get it.

        Instead of ``SIGTERM`` it gets the signal that its image names for this.
        """
        name = self._name(folder)

        def send() -> None:
            own = self._api.inspect_container(name)["Config"].get("StopSignal")
            self._api.kill(name, own if own and number == signals.SIGTERM else number)

        return _is_done(send)

    def hold(self, folder: Path, held: bool) -> None:
        """Make a container stand still, or let it go on."""
        change = self._api.pause if held else self._api.unpause
        _is_done(lambda: change(self._name(folder)))

    def check(self, container: Mapping[str, Any], folder: Path, command: list[str], timeout: float) -> bool:
        """Run a command in a container; return whether it ended well within ``timeout`` seconds."""
        try:
            identifier = self._api.exec_create(self._name(folder), command, stdout=False, stderr=False)["Id"]
            self._api.exec_start(identifier, detach=True)
            ended = wait_until(
                "a health check",
                lambda: None if (found := self._api.exec_inspect(identifier))["Running"] else found,
                timeout=timeout,
                interval=0.1,
            )
        except (OSError, WaitTimeout):
            return False
        return bool(ended["ExitCode"] == 0)

    def memory(self, folder: Path, enough: int) -> int:
        """Return the memory of a container in bytes, without cached files that can be dropped."""
        try:
            found = self._api.stats(self._name(folder), stream=False, one_shot=True)["memory_stats"]
        except OSError:
            return 0
        return int(found.get("usage", 0) - found.get("stats", {}).get("inactive_file", 0))

    def remove(self, folder: Path) -> None:
        """Remove a container and its folder, and with the last one of a task what holds its network."""
        remove(self._api, self._name(folder))
        self._following.forget(folder)
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            left = self._of_agent(f"{TASK_LABEL}={folder.parent.name}")
            if [one["Names"] for one in left] == [[f"/{self._place.project}-{folder.parent.name}"]]:
                remove(self._api, left[0]["Id"])

    def _name(self, folder: Path) -> str:
        return f"{self._place.project}-{folder.parent.name}-{folder.name}"

    def _of_agent(self, *labels: str) -> list[dict[str, Any]]:
        """Return the containers that agents of this project have made for tasks."""
        return self._place.made(self._api, f"{OWNER_LABEL}={OWNER}", *labels)


def _limits(container: Mapping[str, Any]) -> dict[str, int]:
    """Return the limits of a container: its own or the task's memory, its own share, the task's quota."""
    task = container["task"]
    memory = (container["memory"] or task["memory"] or 0) * MIB
    limits = {
        # Without swap beside it.
        "Memory": memory,
        "MemorySwap": memory,
        "CpuShares": max(container["cpu"], LEAST_SHARES) if container["cpu"] else 0,
        "CpuPeriod": PERIOD if task["cpu"] else 0,
        "CpuQuota": task["cpu"] * PERIOD // 1024 if task["cpu"] else 0,
    }
    return {name: value for name, value in limits.items() if value}


def _is_done(call: Callable[[], object]) -> bool:
    """Make a call of Docker's; return False if the container is not there, or Docker does not answer."""
    try:
        call()
    except OSError as error:
        LOG.info("%s", error)
        return False
    return True
