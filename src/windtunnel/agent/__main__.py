"""``python -m windtunnel.agent``: the runner, and in a fork of it the agent.

Settings, as environment variables: ``AGENT_NAME``; ``AGENT_IMAGES``, patterns of the images that it runs,
separated by commas; ``AWS_ENDPOINT_URL``; ``ECS_CLUSTER``, the cluster for whose tasks of launch type EC2 it
is a container instance (``default``).
"""

import functools
import gc
import logging
import os
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from windtunnel.agent import heartbeat, runner
from windtunnel.agent.container import MIB
from windtunnel.agent.emulator import POLL, Emulator, Unreachable
from windtunnel.agent.metadata import Metadata
from windtunnel.agent.processes import Processes
from windtunnel.agent.runtime import Runtime
from windtunnel.agent.task import Task

LOG = logging.getLogger(__name__)


@functools.cache
def logs_client(region: str) -> Any:
    """Return boto3's client for CloudWatch Logs, which gives up soon: the agent tries again by itself."""
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10, max_pool_connections=50
    )
    return boto3.client("logs", region_name=region, config=config)


class Agent:
    """Takes work and runs it."""

    def __init__(
        self, runtime: Runtime, emulator: Emulator, images: list[str], folder: Path, metadata: Metadata
    ) -> None:
        """Take up what an earlier agent has left in the folder."""
        self._emulator = emulator
        self._images = images
        self._folder = folder
        self._lock = threading.Lock()
        self._tasks: dict[str, Task] = {}
        self._needs = (runtime, emulator, logs_client, metadata.variables)
        metadata.serve(self._find)
        for path in sorted(folder.glob("*/task.json")):
            try:
                task = Task.left(path.parent, *self._needs)
            except (OSError, ValueError, KeyError) as error:
                # The emulator ends what was begun and is not held.
                LOG.warning("%s cannot be taken up: %s", path.parent.name, error)
                continue
            self._begin(task)

    def run(self) -> None:
        """Go on for ever."""
        is_connected: bool | None = None
        while True:
            with self._lock:
                held = list(self._tasks)
                stopping = [identifier for identifier, task in self._tasks.items() if task.is_stopping]
            try:
                answer = self._emulator.poll(self._images, held, stopping, POLL if is_connected else 0)
            except Unreachable as error:
                if is_connected is not False:
                    LOG.warning("waiting: %s", error)
                is_connected = False
                time.sleep(0.5)
                continue
            if not is_connected:
                LOG.info("connected; this agent runs %s", ", ".join(self._images))
            is_connected = True
            heartbeat(os.environ).touch()
            for ordered in answer["start"]:
                if ordered["id"] not in held:
                    self._begin(Task(ordered, self._folder / ordered["id"], *self._needs))
            for wish in answer["stop"]:
                if task := self._find(wish["id"]):
                    task.stop(wish)

    def _find(self, identifier: str) -> Task | None:
        with self._lock:
            return self._tasks.get(identifier)

    def _begin(self, task: Task) -> None:
        with self._lock:
            self._tasks[task.id] = task
        try:
            task.begin(self._forget)
        except OSError as error:
            task.refuse(f"CannotStartContainerError: {error}")
            self._forget(task)

    def _forget(self, task: Task) -> None:
        with self._lock:
            del self._tasks[task.id]


def instance() -> dict[str, Any]:
    """Return what this machine has, as a container instance."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB
    cores = len(os.sched_getaffinity(0))
    return {"cluster": os.environ.get("ECS_CLUSTER") or "default", "cpu": cores * 1024, "memory": memory}


def main() -> int:
    """Run until told to end."""
    logging.basicConfig(level=logging.INFO, format="agent: %(message)s", force=True)
    folder = Path(tempfile.gettempdir()) / "containers"
    folder.mkdir(exist_ok=True, mode=0o700)
    emulator = Emulator(os.environ["AWS_ENDPOINT_URL"], os.environ["AGENT_NAME"], instance())
    images = [image.strip() for image in os.environ["AGENT_IMAGES"].split(",") if image.strip()]
    gc.disable()
    runner.preload()
    gc.freeze()
    logging.getLogger().setLevel(logging.WARNING)
    LOG.setLevel(logging.INFO)
    # The runner has it, so that its address is the same for all agents of this runner.
    listening = socket.create_server(("127.0.0.1", 0))

    def agent(orders: socket.socket, identity: str) -> None:
        processes = Processes(orders, identity, os.getppid())
        Agent(processes, emulator, images, folder, Metadata(listening)).run()

    return runner.Runner(agent, [listening]).run()


if __name__ == "__main__":
    sys.exit(main())
