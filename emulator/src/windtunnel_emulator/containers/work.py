"""Work for agents: sets of containers, what was ordered and what has become of them.

A service (ECS, Batch) adds *work* and describes it to its callers. An *agent*, a process outside of
LocalStack, takes what it can run, and reports the state of the whole set whenever it changes. Work is handed
out again until the agent says that it holds it, and a report may come twice: so either side may be killed at
any moment, and nothing runs twice.
"""

import json
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from windtunnel_emulator.containers.database import Records

FILE = "work.sqlite"

# States of work, as ECS names those of a task.
PROVISIONING = "PROVISIONING"
PENDING = "PENDING"
RUNNING = "RUNNING"
STOPPED = "STOPPED"

# For so long work waits for an agent that can run it, and an agent that holds work may be away, in seconds:
# an agent starts in 10 s on a busy machine, and is started again if it ends.
PATIENCE = 60.0
# Work that none of the agents at hand can run ends sooner, as another agent may be about to start.
GRACE = 5.0

# What has stopped is described for so long, in seconds: ECS promises an hour, Batch a day
# (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html).
KEPT = {"ecs": 3600.0, "batch": 86400.0}


@dataclass
class Work:
    """A set of containers."""

    id: str
    service: str
    account: str
    region: str
    containers: list[dict[str, Any]]
    """For the agent; `windtunnel_emulator.ecs.definitions.containers` has the fields."""
    memory: int | None = None
    """The limit of all together, in MiB."""
    cpu: int | None = None
    """What all have together, in units of 1/1024 of a processor."""
    details: dict[str, Any] = field(default_factory=dict)
    """The service's own, which nobody here reads."""
    about: dict[str, Any] | None = None
    """What containers may learn about their task from the agent's metadata endpoint."""
    place: str = ""
    """The only agent that may take it, if it was placed on one."""
    pool: str = ""
    """A cluster: the first of its instances that has room may take it, and is its place then."""
    reserved: dict[str, int] = field(default_factory=dict)
    """What an instance sets aside for it: ``CPU`` in units and ``MEMORY`` in MiB."""
    created: float = field(default_factory=time.time)
    not_before: float = 0.0
    agent: str = ""
    """The agent that holds it."""
    stopping: dict[str, Any] | None = None
    """``code`` and ``reason`` of a wish to stop it, and the time ``at``."""
    state: dict[str, Any] = field(default_factory=lambda: {"status": PROVISIONING, "containers": {}})
    """What the agent reported last."""

    @property
    def stopped(self) -> bool:
        """Whether all of it has come to an end."""
        return bool(self.state["status"] == STOPPED)

    def stopped_at_once(self, code: str, reason: str) -> dict[str, Any]:
        """Return the state of work that ends without the help of an agent."""
        given_up = {"code": code, "reason": reason, "stopped": time.time(), "given_up": True}
        return {**self.state, "status": STOPPED, **given_up}


@dataclass
class Agent:
    """An agent, as of its last question for work."""

    images: Collection[str]
    """Patterns of the images that it runs; after a ``!`` the pattern of some that it does not."""
    seen: float
    question: object
    """Its last question: an earlier one may still be open when an agent was killed."""
    instance: Mapping[str, Any] | None = None
    """What it offers as a container instance of ECS: ``cluster``, ``cpu`` in units, ``memory`` in MiB."""
    since: float = 0.0
    """When it asked for the first time."""

    def runs(self, name: str, work: Work) -> bool:
        """Whether it can run all containers of a set, and may.

        :param name: its own.
        """
        is_able = work.place == name if work.place else not work.pool or self._could_hold(work)
        return is_able and self.fit(one["image"] for one in work.containers) > 0

    def resources(self) -> dict[str, int]:
        """Return what it has as a container instance: ``CPU`` in units and ``MEMORY`` in MiB."""
        offer = self.instance or {"cpu": 0, "memory": 0}
        return {"CPU": offer["cpu"], "MEMORY": offer["memory"]}

    def _could_hold(self, work: Work) -> bool:
        is_one = self.instance is not None and self.instance["cluster"] == work.pool
        return is_one and not lacking(self.resources(), work.reserved)

    def fit(self, images: Iterable[str]) -> int:
        """Return how closely its patterns name the images of a set of containers; 0: it cannot run them."""
        return min((_fit(image, self.images) for image in images), default=1)


def _fit(image: str, patterns: Collection[str]) -> int:
    """Return 1, and 1 for each character of the longest pattern that stands for itself; 0 if none matches."""
    if any(_matches(image, pattern[1:]) for pattern in patterns if pattern.startswith("!")):
        return 0
    fitting = [pattern for pattern in patterns if _matches(image, pattern)]
    return max((1 + len(pattern) - pattern.count("*") for pattern in fitting), default=0)


def _matches(image: str, pattern: str) -> bool:
    """Compare names of images; one without a tag has the tag ``latest``."""
    return any(
        fnmatchcase(name, pattern) for name in (image, image.removesuffix(":latest"), f"{image}:latest")
    )


class WorkQueue:
    """All work there is; any thread may use it."""

    def __init__(self, folder: Path | None = None) -> None:
        """Take up what the folder's database has, if there is one: it outlives LocalStack."""
        # For those who look first and add then.
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._work: dict[str, Work] = {}
        # What has not stopped, which is all that each question for work looks through.
        self._open: dict[str, Work] = {}
        self._agents: dict[str, Agent] = {}
        self._listeners: dict[str, Callable[[Work], None]] = {}
        self.is_ending = False
        """Whether LocalStack ends: questions for work are not held open any more."""
        # Agents find a new LocalStack within seconds.
        self._ready = time.time() + GRACE
        self._database = Records(folder / FILE if folder else None)
        for record in self._database:
            self._know(Work(**json.loads(record)))

    def close(self) -> None:
        """Let go of the database; nothing depends on it."""
        self._database.close()

    def end_questions(self) -> None:
        """Answer all questions that are held open: LocalStack waits for them when it ends."""
        with self._changed:
            self.is_ending = True
            self._changed.notify_all()

    # For services

    def listen(self, service: str, listener: Callable[[Work], None]) -> None:
        """Call a function, with this queue locked, whenever a service's work has changed its state."""
        self._listeners[service] = listener

    def add(self, work: Work) -> None:
        """Hand over work to whichever agent takes it."""
        with self._changed:
            self._know(work)
            self._save(work)
            self._forget_old()
            self._changed.notify_all()

    def find(self, identifier: str) -> Work | None:
        """Return work by its id."""
        with self._changed:
            self._settle()
            return self._work.get(identifier)

    def of(self, service: str, account: str, region: str) -> list[Work]:
        """Return a service's work, the oldest first."""
        with self._changed:
            self._settle()
            mine = (service, account, region)
            return [one for one in self._work.values() if (one.service, one.account, one.region) == mine]

    def placed_on(self, name: str) -> list[Work]:
        """Return the work that only this agent may take, and that has not stopped."""
        with self._changed:
            return [one for one in self._open.values() if one.place == name]

    def remaining(self, name: str) -> dict[str, int]:
        """Return what is left of an agent as a container instance: ``CPU`` in units and ``MEMORY`` in MiB."""
        with self._changed:
            left = self._agents[name].resources()
            for work in self.placed_on(name):
                for resource, amount in work.reserved.items():
                    left[resource] -= amount
            return left

    def save(self, work: Work) -> None:
        """Keep a change of its details."""
        with self._changed:
            self._save(work)

    def stop(self, work: Work, code: str, reason: str) -> None:
        """Have work stopped; what no agent holds has stopped with that."""
        with self._changed:
            if work.stopped or work.stopping:
                return
            work.stopping = {"code": code, "reason": reason, "at": time.time()}
            if work.agent:
                self._save(work)
                self._changed.notify_all()
            else:
                self._set_state(work, work.stopped_at_once(code, reason))

    def agents(self) -> dict[str, Agent]:
        """Return the agents that were seen lately, by their names."""
        now = time.time()
        with self._changed:
            return {name: agent for name, agent in self._agents.items() if now - agent.seen < PATIENCE}

    # For agents

    def poll(
        self,
        name: str,
        images: Collection[str],
        held: Collection[str],
        timeout: float,
        stopping: Collection[str] = (),
        instance: Mapping[str, Any] | None = None,
    ) -> tuple[list[Work], list[dict[str, Any]]]:
        """Return what an agent is to start, and what it is to stop: ``id``, ``code`` and ``reason``.

        Waits until there is something. An agent asks one question at a time: a new one ends the earlier.

        :param held: the ids of the work that it has.
        :param timeout: how long to wait, in seconds.
        :param stopping: the ids of what it is about to stop.
        :param instance: what it offers as a container instance.
        """
        deadline = time.monotonic() + timeout
        question = object()
        with self._changed:
            now = time.time()
            since = self._agents[name].since if name in self._agents else now
            self._agents[name] = Agent(images, now, question, instance, since)
            self._changed.notify_all()
            while self._agents[name].question is question:
                self._agents[name].seen = time.time()
                self._settle()
                self._take_back(name, held)
                start = self._placed(name, held)
                stop = [wish for one in held if one not in stopping and (wish := self._wish_to_stop(one))]
                left = deadline - time.monotonic()
                if start or stop or left <= 0 or self.is_ending:
                    for work in start:
                        work.agent = name
                        self._save(work)
                    return start, stop
                delays = [work.not_before - time.time() for work in self._open.values() if not work.agent]
                self._changed.wait(min([left, 5.0, *(max(delay, 0.01) for delay in delays if delay > 0)]))
            return [], []

    def report(self, identifier: str, state: Mapping[str, Any]) -> bool:
        """Take an agent's report; return whether the work is known.

        :param state: with the time ``at`` which it is; one that comes late changes nothing.
        """
        with self._changed:
            work = self._work.get(identifier)
            if not work:
                return False
            if not work.stopped and state.get("at", 0.0) >= work.state.get("at", 0.0):
                self._set_state(work, dict(state))
            return True

    def fail(self, work: Work, code: str, reason: str) -> None:
        """End work that cannot begin."""
        with self._changed:
            self._set_state(work, work.stopped_at_once(code, reason))

    def _placed(self, name: str, held: Collection[str]) -> list[Work]:
        """Return what an agent is to start; from now on it is the place of what had none."""
        found = []
        for work in self._open.values():
            if self._is_for(work, name, held):
                work.place = work.place or (name if work.pool else "")
                found.append(work)
        return found

    def _is_for(self, work: Work, name: str, held: Collection[str]) -> bool:
        if work.id in held or work.agent not in ("", name):
            return False
        if work.not_before > time.time() or not self._agents[name].runs(name, work):
            return False
        if work.pool and not work.place and lacking(self.remaining(name), work.reserved):
            return False
        images = [one["image"] for one in work.containers]
        others = [agent for other, agent in self.agents().items() if agent.runs(other, work)]
        # An agent that names an image more closely gets it.
        return self._agents[name].fit(images) >= max((agent.fit(images) for agent in others), default=0)

    def _wish_to_stop(self, identifier: str) -> dict[str, Any] | None:
        """Return why an agent is to stop what it holds, if it is."""
        work = self._work.get(identifier)
        if not work:
            return {
                "id": identifier,
                "code": "UserInitiated",
                "reason": "LocalStack knows nothing of this task",
            }
        if work.state.get("given_up"):
            return {"id": identifier, "code": work.state["code"], "reason": work.state["reason"]}
        if work.stopping and not work.state.get("stopping") and not work.stopped:
            return {"id": identifier, **work.stopping}
        return None

    def _take_back(self, name: str, held: Collection[str]) -> None:
        """Settle what an agent was given and does not hold: begun, it is lost; else it is given again."""
        for work in list(self._open.values()):
            if work.agent != name or work.id in held:
                continue
            if work.state["status"] not in (PROVISIONING, PENDING):
                self._set_state(
                    work, work.stopped_at_once("EssentialContainerExited", "The agent has lost it")
                )
            elif work.stopping:
                stopping = work.stopping
                self._set_state(work, work.stopped_at_once(stopping["code"], stopping["reason"]))

    def _settle(self) -> None:
        """End what no agent can run, and what an agent holds that has not been seen for long."""
        now = time.time()
        alive = self.agents()
        for work in list(self._open.values()):
            since = max(work.created, work.not_before, self._ready)
            if now - since < (GRACE if alive else PATIENCE):
                continue
            if work.agent and work.agent not in alive and now - since > PATIENCE:
                self._set_state(
                    work,
                    work.stopped_at_once(
                        "ServiceSchedulerInitiated", f"The agent {work.agent} does not answer"
                    ),
                )
            elif not work.agent and not any(agent.runs(name, work) for name, agent in alive.items()):
                self._set_state(work, work.stopped_at_once("TaskFailedToStart", _unfit(work, alive)))

    def _set_state(self, work: Work, state: dict[str, Any]) -> None:
        work.state = {**state, "version": work.state.get("version", 0) + 1}
        if work.stopped:
            self._open.pop(work.id, None)
        self._save(work)
        if listener := self._listeners.get(work.service):
            listener(work)
        self._changed.notify_all()

    def _know(self, work: Work) -> None:
        self._work[work.id] = work
        if not work.stopped:
            self._open[work.id] = work

    def _save(self, work: Work) -> None:
        self._database.save([(work.id, json.dumps(asdict(work), default=str))])

    def _forget_old(self) -> None:
        now = time.time()
        old = [
            work.id
            for work in self._work.values()
            if work.stopped and now - work.state.get("stopped", now) > KEPT[work.service]
        ]
        for identifier in old:
            del self._work[identifier]
        self._database.forget(old)


def lacking(left: Mapping[str, int], wanted: Mapping[str, int]) -> list[str]:
    """Return of which resources there is too little."""
    return [name for name in ("MEMORY", "CPU") if left[name] < wanted.get(name, 0)]


def _unfit(work: Work, alive: Mapping[str, Agent]) -> str:
    names = [one["image"] for one in work.containers]
    images = ", ".join(dict.fromkeys(names))
    if work.pool and any(agent.fit(names) for agent in alive.values()):
        wanted = work.reserved
        return (
            f"EMPTY CAPACITY PROVIDER: no instance of the cluster {work.pool} has {wanted['CPU']} CPU units "
            f"and {wanted['MEMORY']} MiB of memory"
        )
    if not alive:
        return f"CannotPullContainerError: no agent runs that could run {images}: add the overlay ecs-agent"
    able = "; ".join(f"{name} runs {', '.join(agent.images)}" for name, agent in alive.items())
    return (
        f"CannotPullContainerError: no agent of this stack can run {images} ({able}): "
        "on Compose the overlay docker runs any"
    )
