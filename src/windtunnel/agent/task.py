"""One set of containers, an ECS task or a Batch job: started in order, watched, stopped, reported."""

import json
import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from windtunnel.agent.emulator import Emulator, Unreachable
from windtunnel.agent.output import Output
from windtunnel.agent.runtime import CannotStart, Exit, Runtime

LOG = logging.getLogger(__name__)

# Between two looks at the containers, and at their memory, in seconds.
INTERVAL = 0.1
MEMORY_INTERVAL = 0.5

# How long a container's exit may wait for its output to be shipped while CloudWatch does not answer, in seconds.
SHIPPING_PATIENCE = 300.0

MIB = 1 << 20

# How ECS words it (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html).
ESSENTIAL_EXITED = "Essential container in task exited"
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"


class Container:
    """A container of a task."""

    def __init__(
        self, definition: Mapping[str, Any], folder: Path, runtime: Runtime, output: Output | None
    ) -> None:
        """Take up what an earlier agent has begun, if the folder has something."""
        self.definition = definition
        self.folder = folder
        self.output = output
        self.exit: Exit | None = None
        self.started: float | None = None
        self.killed_at: float | None = None
        self._runtime = runtime
        self.is_out_of_memory = False

    @property
    def name(self) -> str:
        """Its name in the task."""
        return str(self.definition["name"])

    @property
    def is_running(self) -> bool:
        """Whether it has begun and not ended."""
        return self.started is not None and self.exit is None

    def start(self, cpu: int | None) -> None:
        """Start it; if that fails it has ended with the reason."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            if self.output:
                self.output.open()
            (self.folder / "started").write_text(str(time.time()))
            self.started = time.time()
            self._runtime.start(self.definition, self.folder, self.definition["cpu"] or cpu)
        except CannotStart as error:
            self.started = None
            self.exit = Exit(None, str(error))

    def resume(self) -> None:
        """Take it up as an earlier agent has left it."""
        if (note := self.folder / "started").exists():
            self.started = float(note.read_text())

    def look(self) -> None:
        """See whether it has ended, and ship its output."""
        if not self.is_running:
            return
        found = self._runtime.exit(self.folder)
        if found and found.code is None:
            self.started = None
        if found and self.is_out_of_memory:
            found = Exit(found.code, OUT_OF_MEMORY)
        if not found and self.output:
            self.output.ship()
        self.exit = found

    def bound_memory(self, limit: int | None) -> int:
        """Kill it if it has more than its limit; return its memory.

        :param limit: in bytes, of the whole task.
        """
        own = self.definition["memory"]
        bound = min([one for one in (own and own * MIB, limit) if one], default=0)
        if not bound or not self.is_running:
            return 0
        used = self._runtime.memory(self.folder, bound)
        if used > bound:
            self.is_out_of_memory = True
            self._runtime.signal(self.folder, signal.SIGKILL)
        return used

    def stop(self) -> None:
        """Ask it to end; kill it when it has had its time."""
        if self.killed_at is None:
            self.killed_at = time.monotonic() + self.definition["stop_timeout"]
            self._runtime.signal(self.folder, signal.SIGTERM)
        elif time.monotonic() > self.killed_at:
            self._runtime.signal(self.folder, signal.SIGKILL)

    def described(self) -> dict[str, Any]:
        """Return its state for a report."""
        status = "STOPPED" if self.exit else "RUNNING" if self.is_running else "PENDING"
        answer: dict[str, Any] = {"status": status, "id": f"{self.folder.parent.name}-{self.name}"}
        if self.exit:
            answer |= {"exit_code": self.exit.code, "reason": self.exit.reason}
        return {name: value for name, value in answer.items() if value is not None}


class Task:
    """A set of containers, run in a thread of its own; what has to outlive this process is in its folder."""

    def __init__(
        self,
        ordered: Mapping[str, Any],
        folder: Path,
        runtime: Runtime,
        emulator: Emulator,
        client_of: Callable[[str], Any],
    ) -> None:
        """Take what the emulator has ordered; `begin` keeps it on disk."""
        self.id = str(ordered["id"])
        self.folder = folder
        self._ordered = ordered
        self._runtime = runtime
        self._emulator = emulator
        self._stopping: Mapping[str, Any] | None = None
        self._state: dict[str, Any] = {"status": "PENDING", "version": 0}
        self._reported: dict[str, Any] = {}
        self._memory_seen = 0.0
        self.containers = {
            one["name"]: Container(
                one,
                folder / one["name"],
                runtime,
                Output(folder / one["name"], one["logs"], client_of) if one["logs"] else None,
            )
            for one in ordered["containers"]
        }

    @classmethod
    def left(
        cls, folder: Path, runtime: Runtime, emulator: Emulator, client_of: Callable[[str], Any]
    ) -> "Task":
        """Take up a task of an earlier agent."""
        task = cls(json.loads((folder / "task.json").read_text()), folder, runtime, emulator, client_of)
        for container in task.containers.values():
            container.resume()
        if (note := folder / "stopping.json").exists():
            task._stopping = json.loads(note.read_text())
        return task

    def begin(self, ended: Callable[["Task"], None]) -> None:
        """Run it, and call a function when all is over and reported."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "task.json"
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps(self._ordered))
        new.replace(path)
        threading.Thread(target=self._run, args=(ended,), name=self.id, daemon=True).start()

    def stop(self, wish: Mapping[str, Any]) -> None:
        """Have it stopped: ``code`` and ``reason``."""
        if not self._stopping:
            (self.folder / "stopping.json").write_text(json.dumps(wish))
            self._stopping = wish

    def _run(self, ended: Callable[["Task"], None]) -> None:
        try:
            self._run_containers()
        except Exception:
            LOG.exception("task %s", self.id)
            self._end("ServiceSchedulerInitiated", "The agent has failed: see its log")
        for container in self.containers.values():
            self._runtime.remove(container.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        ended(self)

    def _run_containers(self) -> None:
        self._state["pull_started"] = self._state["pull_stopped"] = time.time()
        code, reason = "", ""
        while True:
            for container in self.containers.values():
                container.look()
            if not code:
                code, reason = self._why_to_end()
            if code:
                self._state.setdefault("stopping", time.time())
                self._state |= {"code": code, "reason": reason}
                self._stop_in_order()
            else:
                self._start_in_order()
                self._bound_memory()
            self._note()
            if code and not any(container.is_running for container in self.containers.values()):
                break
            self._report()
            time.sleep(INTERVAL)
        self._state |= {"status": "DEPROVISIONING", "execution_stopped": time.time()}
        self._report()
        self._ship_the_rest()
        self._end(code, reason)

    def _why_to_end(self) -> tuple[str, str]:
        """Return code and reason if the task is to end."""
        if self._stopping:
            return self._stopping["code"], self._stopping["reason"]
        for container in self.containers.values():
            if container.exit and container.exit.code is None:
                return "TaskFailedToStart", container.exit.reason or ""
            if container.exit and container.definition["essential"]:
                return "EssentialContainerExited", self._reason_of(container)
            if container.exit and not self._can_go_on(container):
                return "TaskFailedToStart", f"Container {container.name} did not meet what others wait for"
        return "", ""

    @staticmethod
    def _reason_of(container: Container) -> str:
        if container.exit and container.exit.reason and not container.is_out_of_memory:
            return container.exit.reason
        return ESSENTIAL_EXITED

    def _can_go_on(self, ended: Container) -> bool:
        """Whether those that wait for a container may still start now that it has ended."""
        waiting = [one for one in self.containers.values() if one.started is None and not one.exit]
        conditions = {one.definition["depends_on"].get(ended.name) for one in waiting}
        if "SUCCESS" in conditions and ended.exit and ended.exit.code != 0:
            return False
        return "HEALTHY" not in conditions

    def _start_in_order(self) -> None:
        for container in self.containers.values():
            if container.started is None and not container.exit and self._may_start(container):
                container.start(self._ordered.get("cpu"))

    def _may_start(self, container: Container) -> bool:
        for name, condition in container.definition["depends_on"].items():
            other = self.containers[name]
            if condition == "START" and not (other.is_running or other.exit):
                return False
            if condition == "COMPLETE" and not other.exit:
                return False
            if condition == "SUCCESS" and not (other.exit and other.exit.code == 0):
                return False
            if condition == "HEALTHY" and not other.is_running:
                return False
        return True

    def _stop_in_order(self) -> None:
        """Stop what runs: what others depend on only after these."""
        running = {one.name for one in self.containers.values() if one.is_running}
        needed = {name for one in running for name in self.containers[one].definition["depends_on"]}
        for name in running - needed or running:
            self.containers[name].stop()

    def _bound_memory(self) -> None:
        if time.monotonic() - self._memory_seen < MEMORY_INTERVAL:
            return
        self._memory_seen = time.monotonic()
        limit = self._ordered.get("memory")
        for container in self.containers.values():
            container.bound_memory(limit * MIB if limit else None)

    def _note(self) -> None:
        containers = self.containers.values()
        if self._state["status"] == "PENDING" and all(one.started or one.exit for one in containers):
            self._state["status"] = "RUNNING"
        if "started" not in self._state and all(one.started for one in containers):
            self._state["started"] = max(one.started or 0 for one in containers)
        if "stopping" in self._state:
            self._state["status"] = "STOPPING"

    def _ship_the_rest(self) -> None:
        deadline = time.monotonic() + SHIPPING_PATIENCE
        for container in self.containers.values():
            while container.output and not container.output.ship(to_the_end=True):
                if time.monotonic() > deadline:
                    LOG.error(
                        "task %s: output of %s is lost: CloudWatch does not take it", self.id, container.name
                    )
                    break
                time.sleep(INTERVAL)

    def _end(self, code: str, reason: str) -> None:
        self._state |= {"status": "STOPPED", "code": code, "reason": reason, "stopped": time.time()}
        while not self._report():
            time.sleep(1)

    def _report(self) -> bool:
        """Report the state if it has changed; return whether the emulator has it."""
        self._state["containers"] = {name: one.described() for name, one in self.containers.items()}
        changed = {name: value for name, value in self._state.items() if name != "version"}
        if changed == self._reported:
            return True
        self._state["version"] += 1
        try:
            is_known = self._emulator.report(self.id, self._state)
        except Unreachable:
            return False
        self._reported = json.loads(json.dumps(changed))
        if not is_known and not self._stopping:
            # Another emulator: nobody will ever ask for this task.
            self.stop({"code": "UserInitiated", "reason": "The emulator knows nothing of this task"})
        return True
