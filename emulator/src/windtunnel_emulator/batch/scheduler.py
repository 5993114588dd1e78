"""The scheduler: takes jobs through their states, and their attempts to agents."""

import json
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

from windtunnel_emulator.batch import attempts, jobs, placement, retries
from windtunnel_emulator.batch.jobs import Job
from windtunnel_emulator.containers.database import Records
from windtunnel_emulator.containers.work import KEPT, Work, WorkQueue

LOG = logging.getLogger(__name__)

FILE = "batch.sqlite"

DEPENDENCY_FAILED = "Dependent Job failed"
CHILD_FAILED = "Array Child Job failed"

# How often to look at all that runs, in seconds: the queue of work ends by itself what no agent answers for.
INTERVAL = 5.0


class Scheduler:
    """All jobs there are; any thread may use it.

    The queue of work calls back with its lock held, and this calls the queue with its own lock held. So a
    callback only takes a note, of which the scheduler's own thread makes something.
    """

    def __init__(
        self, queue: WorkQueue, backend_of: Callable[[str, str], Any], folder: Path | None = None
    ) -> None:
        """Take up the jobs that the folder's database has, if there is one.

        :param backend_of: returns moto's records of an account and a region.
        """
        self._queue = queue
        self._backend_of = backend_of
        self._lock = threading.RLock()
        self._records = Records(folder / FILE if folder else None)
        self._jobs: dict[str, Job] = {}
        self._children: dict[str, list[Job]] = defaultdict(list)
        self._notes: SimpleQueue[Work] = SimpleQueue()
        self._awake = threading.Event()
        self._unsaved: dict[str, Job] = {}
        self._is_to_place = True
        self._thread: threading.Thread | None = None
        self._is_closed = False
        for record in self._records:
            self._know(Job(**json.loads(record)))
        queue.listen("batch", self._note)

    def start(self) -> None:
        """Go on by itself, in a thread."""
        self._thread = threading.Thread(target=self._run, name="batch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and let go of the database; nothing depends on it."""
        self._is_closed = True
        self._awake.set()
        if self._thread:
            self._thread.join()
        self._records.close()

    # For operations

    def add(self, submitted: Iterable[Job]) -> None:
        """Take a job, or an array with its children."""
        with self._lock:
            for job in submitted:
                self._know(job)
                self._change(job)
            self._forget_old()
            self.step()

    def find(self, identifier: str) -> Job | None:
        """Return a job by its id or ARN."""
        with self._lock:
            return self._jobs.get(identifier.rpartition("/")[2])

    def children(self, job: Job) -> list[Job]:
        """Return the children of an array's parent, in their order."""
        with self._lock:
            return list(self._children.get(job.id, ()))

    def of(self, queue: str) -> list[Job]:
        """Return the jobs of a queue, by its ARN, the oldest first and without children."""
        with self._lock:
            return [job for job in self._jobs.values() if job.queue == queue and not job.parent]

    def end(self, job: Job, is_forced: bool, reason: str) -> None:
        """Cancel a job, or have it terminated.

        :param is_forced: whether it ends if it has begun.
        """
        with self._lock:
            for one in [job, *self._children.get(job.id, ())]:
                if one.is_over or one.wish or (one.is_active and not is_forced):
                    continue
                one.wish = {"kind": "terminate" if one.is_active else "cancel", "reason": reason}
                self._change(one)
                if one.is_active:
                    self._stop(one)
            self.step()

    def step(self, is_thorough: bool = False) -> float:
        """Bring all jobs as far as they get by now; return in how many seconds to look again.

        :param is_thorough: whether to look at all that runs, and not just at what an agent has reported on.
        """
        with self._lock:
            self._follow(self._running() if is_thorough else self._noted())
            self._time_out()
            self._is_to_place |= is_thorough
            while self._is_to_place:
                self._is_to_place = False
                self._settle()
                self._place()
            self._save()
            deadlines = [self._deadline(job) for job in self._jobs.values() if job.is_active]
            return max(0.0, min([time.time() + INTERVAL, *deadlines]) - time.time())

    def _run(self) -> None:
        delay = 0.0
        while not self._is_closed:
            is_noted = self._awake.wait(delay)
            self._awake.clear()
            try:
                delay = self.step(is_thorough=not is_noted)
            except Exception:
                LOG.exception("Batch's scheduler has failed and goes on in %s s", INTERVAL)
                delay = INTERVAL

    def _know(self, job: Job) -> None:
        self._jobs[job.id] = job
        if job.parent:
            self._children[job.parent].append(job)

    def _note(self, work: Work) -> None:
        self._notes.put(work)
        self._awake.set()

    def _change(self, job: Job) -> None:
        """Have a job saved, and what depends on it looked at."""
        self._unsaved[job.id] = job
        self._is_to_place = True

    def _save(self) -> None:
        self._records.save((name, json.dumps(asdict(job))) for name, job in self._unsaved.items())
        self._unsaved = {}

    # Attempts

    def _noted(self) -> dict[str, Work]:
        found = {}
        while True:
            try:
                work = self._notes.get_nowait()
            except Empty:
                return found
            found[work.id] = work

    def _running(self) -> dict[str, Work]:
        self._noted()
        places = {(job.account, job.region) for job in self._jobs.values() if job.is_active}
        found = {work.id: work for place in places for work in self._queue.of("batch", *place)}
        for job in [job for job in self._jobs.values() if job.is_active and job.task not in found]:
            # LocalStack was killed before the work was handed over.
            self._queue.add(attempts.work_of(job))
        return found

    def _follow(self, found: dict[str, Work]) -> None:
        for work in found.values():
            job = self._jobs.get(work.details["jobId"])
            if not job or not job.is_active or job.task != work.id:
                continue
            state = work.state
            if job.status == jobs.STARTING and state.get("started"):
                job.status, job.started = jobs.RUNNING, state["started"]
                self._unsaved[job.id] = job
            if work.stopped:
                self._finish(job, state)
            elif job.wish:
                self._stop(job)

    def _finish(self, job: Job, state: dict[str, Any]) -> None:
        attempt = attempts.ended(job, state)
        job.attempts.append(attempt)
        reason, at = attempt.get("statusReason", ""), state["stopped"]
        if state.get("code") == "EssentialContainerExited" and attempts.exit_code(state) == 0:
            job.end(jobs.SUCCEEDED, reason, at)
        elif job.wish:
            attempt["statusReason"] = job.wish["reason"]
            job.end(jobs.FAILED, job.wish["reason"], at)
        elif retries.is_retried(job.retry, job.attempts):
            job.status, job.reason, job.started = jobs.RUNNABLE, reason, None
        else:
            job.end(jobs.FAILED, reason, at)
        self._change(job)

    def _deadline(self, job: Job) -> float:
        is_bounded = job.timeout and job.started and not job.wish
        return job.started + job.timeout if is_bounded else float("inf")  # type: ignore[operator]

    def _time_out(self) -> None:
        now = time.time()
        for job in self._jobs.values():
            if job.status == jobs.RUNNING and self._deadline(job) <= now:
                job.wish = {"kind": "timeout", "reason": attempts.TIMED_OUT}
                self._unsaved[job.id] = job
                self._stop(job)

    def _stop(self, job: Job) -> None:
        work = self._queue.find(job.task)
        if work and job.wish:
            self._queue.stop(work, "UserInitiated", job.wish["reason"])

    # What waits

    def _settle(self) -> None:
        """Release what others have kept waiting, until nothing changes any more."""
        waiting = [job for job in self._jobs.values() if not job.is_over and not job.is_active]
        while any(
            [self._release(job) for job in waiting] + [self._count(job) for job in waiting if job.is_parent]
        ):
            pass

    def _release(self, job: Job) -> bool:
        """Move a job on as far as its dependencies are; return whether it has moved."""
        if job.is_over:
            return False
        before = job.status
        others = [self._jobs[one] for one in job.waits_for if one in self._jobs]
        if any(other.status == jobs.FAILED for other in others):
            job.end(jobs.FAILED, DEPENDENCY_FAILED, time.time())
        elif job.is_parent or not all(other.is_over for other in others):
            job.status = jobs.PENDING
        elif job.wish:
            job.end(jobs.FAILED, job.wish["reason"], time.time())
        else:
            job.status = jobs.RUNNABLE
        if job.status != before:
            self._change(job)
        return job.status != before

    def _count(self, parent: Job) -> bool:
        """End the parent of an array when all its children have ended; return whether it has."""
        children = self._children[parent.id]
        if parent.is_over or not all(child.is_over for child in children):
            return False
        at = max(child.stopped or 0 for child in children)
        if all(child.status == jobs.SUCCEEDED for child in children):
            parent.end(jobs.SUCCEEDED, "", at)
        else:
            parent.end(jobs.FAILED, parent.wish["reason"] if parent.wish else CHILD_FAILED, at)
        self._change(parent)
        return True

    def _place(self) -> None:
        """Start what has room: of the queue with the highest priority first, and in a queue by turn.

        Where the first finds no room, those behind it wait.
        """
        used: dict[str, float] = defaultdict(float)
        waiting: dict[str, list[Job]] = defaultdict(list)
        for job in self._jobs.values():
            if job.is_active:
                used[job.environment] += job.vcpus
            elif job.status == jobs.RUNNABLE:
                waiting[job.queue].append(job)
        found = [(self._queue_of(turn[0]), turn) for turn in waiting.values()]
        begun: list[Job] = []
        for queue, turn in sorted(found, key=lambda one: -int(one[0].priority) if one[0] else 0):
            begun += self._begin(queue, sorted(turn, key=lambda job: job.order), used)
        # So that a killed LocalStack does not start them twice.
        self._save()
        for job in begun:
            self._queue.add(attempts.work_of(job))

    def _begin(self, queue: Any, turn: Collection[Job], used: dict[str, float]) -> list[Job]:
        begun: list[Job] = []
        for job in turn:
            environment, reason = placement.place(job, queue, used) if queue else (None, "")
            if not environment:
                job.reason = reason or job.reason
                self._unsaved[job.id] = job
                break
            job.environment, job.task = environment.arn, uuid4().hex
            if attempts.are_overrides_too_long(job):
                job.end(jobs.FAILED, attempts.OVERRIDES_TOO_LONG, time.time())
                self._change(job)
            else:
                job.status, job.reason = jobs.STARTING, ""
                self._unsaved[job.id] = job
                used[environment.arn] += job.vcpus
                begun.append(job)
        return begun

    def _queue_of(self, job: Job) -> Any:
        return self._backend_of(job.account, job.region).get_job_queue(job.queue)

    def _forget_old(self) -> None:
        limit = time.time() - KEPT["batch"]
        old = [job.id for job in self._jobs.values() if job.is_over and (job.stopped or 0) < limit]
        for identifier in old:
            del self._jobs[identifier]
            self._children.pop(identifier, None)
        self._records.forget(old)
