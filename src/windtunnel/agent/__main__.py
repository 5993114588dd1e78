"""``python -m windtunnel.agent``: the runner, and in a fork of it the agent.

Settings, as environment variables: ``AGENT_NAME``; ``AGENT_IMAGES``, patterns of the images that it runs,
separated by commas; ``AGENT_RUNTIME``, ``process`` or ``docker``; ``AWS_ENDPOINT_URL``.
"""

import functools
import gc
import logging
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from windtunnel.agent import heartbeat, runner
from windtunnel.agent.emulator import POLL, Emulator, Unreachable
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

    def __init__(self, runtime: Runtime, emulator: Emulator, images: list[str], folder: Path) -> None:
        """Take up what an earlier agent has left in the folder."""
        self._runtime = runtime
        self._emulator = emulator
        self._images = images
        self._folder = folder
        self._lock = threading.Lock()
        self._tasks: dict[str, Task] = {}
        for path in sorted(folder.glob("*/task.json")):
            self._begin(Task.left(path.parent, runtime, emulator, logs_client))

    def run(self) -> None:
        """Go on for ever."""
        is_connected: bool | None = None
        while True:
            with self._lock:
                held = list(self._tasks)
            try:
                answer = self._emulator.poll(self._images, held, POLL if is_connected else 0)
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
                    self._begin(
                        Task(
                            ordered, self._folder / ordered["id"], self._runtime, self._emulator, logs_client
                        )
                    )
            for wish in answer["stop"]:
                with self._lock:
                    task = self._tasks.get(wish["id"])
                if task:
                    task.stop(wish)

    def _begin(self, task: Task) -> None:
        with self._lock:
            self._tasks[task.id] = task
        task.begin(self._forget)

    def _forget(self, task: Task) -> None:
        with self._lock:
            del self._tasks[task.id]


def main() -> int:
    """Run until told to end."""
    logging.basicConfig(level=logging.INFO, format="agent: %(message)s", force=True)
    folder = Path(tempfile.gettempdir()) / "containers"
    folder.mkdir(exist_ok=True, mode=0o700)
    emulator = Emulator(os.environ["AWS_ENDPOINT_URL"], os.environ["AGENT_NAME"])
    images = [image.strip() for image in os.environ["AGENT_IMAGES"].split(",") if image.strip()]
    gc.disable()
    runner.preload()
    gc.freeze()
    logging.getLogger().setLevel(logging.WARNING)
    LOG.setLevel(logging.INFO)
    return runner.Runner(lambda orders: Agent(Processes(orders), emulator, images, folder).run()).run()


if __name__ == "__main__":
    sys.exit(main())
