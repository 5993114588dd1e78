"""One set of containers, an ECS task or a Batch job: started in order, watched, stopped, reported."""

import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from windtunnel.agent.container import MIB, Container, write_private
from windtunnel.agent.emulator import Emulator, Unreachable
from windtunnel.agent.health import HEALTHY
from windtunnel.agent.output import Output
from windtunnel.agent.runtime import Exit, Runtime

LOG = logging.getLogger(__name__)

# Between two looks at the containers, two at their memory, and two reports that do not arrive, in seconds.
INTERVAL = 0.1
MEMORY_INTERVAL = 0.5
REPORT_INTERVAL = 1.0

# How long a task's end may wait for its output to be shipped while CloudWatch does not answer, in seconds.
SHIPPING_PATIENCE = 300.0

# How ECS words it (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html).
ESSENTIAL_EXITED = "Essential container in task exited"


class Task:
    """A set of containers, run in a thread of its own; what has to outlive this process is in its folder."""

    def __init__(
        self,
        ordered: Mapping[str, Any],
        folder: Path,
        runtime: Runtime,
        emulator: Emulator,
        client_of: Callable[[str], Any],
        variables: Callable[["Task", str], Mapping[str, str]] = lambda *_: {},
    ) -> None:
        """Take what the emulator has ordered; `begin` keeps it on disk.

        :param client_of: returns boto3's client for CloudWatch Logs of a region.
        :param variables: returns what a container, by its name, gets beside the definition's environment.
        """
        self.id = str(ordered["id"])
        self.folder = folder
        self.ordered = ordered
        self.state: dict[str, Any] = {"status": "PENDING"}
        self._emulator = emulator
        self._variables = variables
        self._stopping: Mapping[str, Any] | None = None
        self._reported: dict[str, Any] = {}
        self._report_not_before = 0.0
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
    def left(cls, folder: Path, *needs: Any) -> "Task":
        """Take up a task of an earlier agent.

        :param needs: what a new one gets after its folder.
        """
        task = cls(json.loads((folder / "task.json").read_text()), folder, *needs)
        if (note := folder / "state.json").exists():
            task.state = json.loads(note.read_text())
        if (note := folder / "stopping.json").exists():
            task._stopping = json.loads(note.read_text())
        for container in task.containers.values():
            container.resume()
        return task

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to end."""
        return self._stopping is not None

    def begin(self, ended: Callable[["Task"], None]) -> None:
        """Run it, and call a function when all is over and reported.

        :raises OSError: if it cannot be kept on the disk.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self.folder / "task.json", json.dumps(self.ordered))
        threading.Thread(target=self._run, args=(ended,), name=self.id, daemon=True).start()

    def refuse(self, reason: str) -> None:
        """Report, instead of beginning it, that it cannot begin."""
        self._set(status="STOPPED", code="TaskFailedToStart", reason=reason, stopped=time.time())
        self._report()

    def stop(self, wish: Mapping[str, Any]) -> None:
        """Have it stopped: ``code`` and ``reason``."""
        if self._stopping:
            return
        self._stopping = wish
        try:
            write_private(self.folder / "stopping.json", json.dumps(wish))
        except OSError as error:
            LOG.info("task %s: the wish to stop it is not kept: %s", self.id, error)

    def _run(self, ended: Callable[["Task"], None]) -> None:
        try:
            self._run_containers()
        except Exception as error:
            LOG.exception("task %s", self.id)
            for container in self.containers.values():
                container.remove()
            self._end("ServiceSchedulerInitiated", f"The agent has failed: {error}: see its log")
        for container in self.containers.values():
            container.remove()
        # Without this file nobody takes it up again.
        (self.folder / "task.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        ended(self)

    def _run_containers(self) -> None:
        if "pull_started" not in self.state:
            self._set(pull_started=time.time(), pull_stopped=time.time())
        code, reason = self.state.get("code", ""), self.state.get("reason", "")
        while True:
            for container in self.containers.values():
                container.look()
            if not code:
                code, reason = self._why_to_end()
            if code:
                self._set(stopping=self.state.get("stopping", time.time()), code=code, reason=reason)
                self._stop_in_order()
            else:
                self._start_in_order()
                self._bound_memory()
            self._see_status()
            if code and not any(container.is_running for container in self.containers.values()):
                break
            self._report()
            time.sleep(INTERVAL)
        self._set(status="DEPROVISIONING", execution_stopped=self.state.get("execution_stopped", time.time()))
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
                return "EssentialContainerExited", _reason_of(container.exit, container)
        if waiting := self._waits_in_vain():
            return "TaskFailedToStart", waiting
        return "", ""

    def _waits_in_vain(self) -> str:
        """Return why a container can never start, if there is one."""
        for container in self.containers.values():
            if container.started is not None or container.exit:
                continue
            for name, condition in container.definition["depends_on"].items():
                other = self.containers[name]
                if _meets(other, condition):
                    continue
                if other.exit:
                    end = f"{name} has ended with exit code {other.exit.code}"
                    return f"Container {container.name} waits for {name} to be {condition}, and {end}"
                timeout = other.definition["start_timeout"]
                if timeout and other.started and time.time() - other.started > timeout:
                    return f"Container {container.name} has waited {timeout} s for {name} to be {condition}"
        return ""

    def _start_in_order(self) -> None:
        whole = {"size": len(self.containers), **{name: self.ordered.get(name) for name in ("cpu", "memory")}}
        for container in self.containers.values():
            if container.started is None and not container.exit and self._may_start(container):
                container.start(whole, self._variables(self, container.name))

    def _may_start(self, container: Container) -> bool:
        conditions = container.definition["depends_on"].items()
        return all(_meets(self.containers[name], condition) for name, condition in conditions)

    def _stop_in_order(self) -> None:
        """Stop what runs: what others depend on only after these."""
        running = {one.name for one in self.containers.values() if one.is_running}
        needed = {name for one in running for name in self.containers[one].definition["depends_on"]}
        for name in running - needed or running:
            self.containers[name].stop()

    def _bound_memory(self) -> None:
        """Kill what takes more than its own limit, and what takes most if all take more than the task's."""
        if time.monotonic() - self._memory_seen < MEMORY_INTERVAL:
            return
        self._memory_seen = time.monotonic()
        limit = self.ordered.get("memory") and self.ordered["memory"] * MIB
        used = {name: container.memory(limit) for name, container in self.containers.items()}
        if limit and sum(used.values()) > limit:
            self.containers[max(used, key=lambda name: used[name])].kill_for_memory()

    def _see_status(self) -> None:
        containers = self.containers.values()
        if self.state["status"] == "PENDING" and all(one.started or one.exit for one in containers):
            self._set(status="RUNNING")
        if "started" not in self.state and all(one.started for one in containers):
            self._set(started=max(one.started or 0 for one in containers))
        if "stopping" in self.state and self.state["status"] in ("PENDING", "RUNNING"):
            self._set(status="STOPPING")

    def _ship_the_rest(self) -> None:
        deadline = time.monotonic() + SHIPPING_PATIENCE
        for container in self.containers.values():
            if container.output and not container.output.finish(deadline - time.monotonic()):
                LOG.error(
                    "task %s: output of %s is lost: CloudWatch does not take it", self.id, container.name
                )

    def _end(self, code: str, reason: str) -> None:
        self._set(status="STOPPED", code=code, reason=reason, stopped=self.state.get("stopped", time.time()))
        while not self._report():
            time.sleep(REPORT_INTERVAL)

    def _set(self, **changes: Any) -> None:
        """Change the state, and keep it for the next agent."""
        changed = {**self.state, **changes}
        if changed == self.state:
            return
        self.state = changed
        try:
            write_private(self.folder / "state.json", json.dumps(self.state))
        except OSError as error:
            # It goes on all the same: only an agent that is killed would miss it.
            LOG.info("task %s: its state is not kept: %s", self.id, error)

    def _report(self) -> bool:
        """Report the state if it has changed; return whether the emulator has it."""
        state = {**self.state, "containers": {name: one.described() for name, one in self.containers.items()}}
        if state == self._reported:
            return True
        if time.monotonic() < self._report_not_before:
            return False
        try:
            is_known = self._emulator.report(self.id, {**state, "at": time.time()})
        except Unreachable:
            self._report_not_before = time.monotonic() + REPORT_INTERVAL
            return False
        self._reported = state
        if not is_known:
            # Another emulator: nobody will ever ask for this task.
            self.stop({"code": "UserInitiated", "reason": "The emulator knows nothing of this task"})
        return True


def _meets(container: Container, condition: str) -> bool:
    """Return whether a container is as one that depends on it wants it."""
    if condition == "START":
        return container.started is not None
    if condition == "HEALTHY":
        return container.is_running and container.health == HEALTHY
    ended_well = container.exit is not None and container.exit.code == 0
    return ended_well if condition == "SUCCESS" else bool(container.exit and container.exit.code is not None)


def _reason_of(found: Exit, container: Container) -> str:
    """Return the reason of a task that an essential container's exit has ended."""
    return found.reason if found.reason and not container.is_out_of_memory else ESSENTIAL_EXITED
