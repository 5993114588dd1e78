"""Tasks that wait though everything is healthy: all slots are taken, or no worker serves their queue."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from windtunnel.stack.base import Stack
from windtunnel.stack.command import COMMAND
from windtunnel.stack.errors import Finding
from windtunnel.stack.workers import Workers, workers

# How many holders of slots are named.
NAMED = 5
REMEDY = (
    "Set PARALLELISM to more slots, or let what waits give its slot back: deferrable=True,"
    ' or mode="reschedule" for a sensor.'
)


def findings(stack: Stack) -> list[Finding]:
    """Name the tasks that hold all slots, if others wait for one, and the queues that no worker serves.

    :raises windtunnel.stack.errors.StackError: if the webserver does not answer.
    """
    if not stack.is_running("webserver"):
        return []
    return [*_slots(stack), *_queues(stack)]


def _slots(stack: Stack) -> Iterator[Finding]:
    found = stack.ask("webserver", "held_up")
    if not found["waiting"]:
        return
    holders = [f"{name} since {datetime.fromtimestamp(since):%H:%M}" for name, since in found["holders"]]
    more = f" and {len(holders) - NAMED} more" if len(holders) > NAMED else ""
    who = _tasks(found["waiting"])
    problem = f"{who} for a slot: all {found['slots']} are taken by {', '.join(holders[:NAMED])}{more}"
    yield Finding(problem, REMEDY)


def _queues(stack: Stack) -> Iterator[Finding]:
    """Yield the queues of Celery with tasks and without a worker."""
    there = workers(stack.configuration, stack.settings.scale)
    served = {queue for one in there if one.replicas for queue in one.queues}
    for queue, number, names in stack.ask("webserver", "queued") if there else ():
        if queue not in served:
            problem = f"{_tasks(number)} in the queue {queue}, which no worker serves: {', '.join(names)}"
            yield Finding(problem, _remedy(queue, there))


def _remedy(queue: str, there: Iterable[Workers]) -> str:
    for one in there:
        if queue in one.queues:
            return f"Start a worker of it: {COMMAND} scale {one.service}=1"
    served = next((one.queues for one in there if one.replicas), ())
    return f"Correct the task's queue, or let workers serve it: WORKER_QUEUES={','.join([*served, queue])}"


def _tasks(number: int) -> str:
    return "1 task waits" if number == 1 else f"{number:,} tasks wait"
