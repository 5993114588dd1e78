"""How many workers a queue calls for: ``./windtunnel scale worker=1..4``; ``docs/celery.md``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from windtunnel.stack.errors import Finding, Unmet

# So many datapoints in a row, a minute each, call for fewer workers before one goes. Tasks often come in
# waves, and a worker that has gone too soon is missed for a minute, until the next datapoint.
COOLDOWN = 3

FORM = (
    "Write SERVICE=MIN..MAX, once, with MIN from 0 on and MAX from 1 on: worker=1..4. "
    "For a second service run the command a second time."
)


@dataclass(frozen=True)
class Bounds:
    """How many replicas of a service there are at least, and at most."""

    service: str
    lowest: int
    highest: int


@dataclass(frozen=True)
class Datapoint:
    """What the queues of a service were like in one minute."""

    time: datetime
    # Tasks that no worker has, and that one has.
    waiting: float
    running: float
    # Tasks for each slot; None without slots.
    load: float | None


@dataclass(frozen=True)
class Decision:
    """How many workers there were, and how many there are to be after a datapoint."""

    datapoint: Datapoint
    before: int
    after: int

    def __str__(self) -> str:
        """Return the line that a person reads."""
        point = self.datapoint
        load = "   -" if point.load is None else f"{point.load:4.2f}"
        change = f"workers {self.before} -> {self.after}"
        clock = point.time.astimezone().strftime("%H:%M")
        return f"{clock}  load {load}  waiting {point.waiting:3.0f}  running {point.running:3.0f}  {change}"


def bounds(options: Sequence[str]) -> Bounds | None:
    """Read ``SERVICE=MIN..MAX``; None if all options are of the form ``SERVICE=N``.

    :raises Unmet: if it is not the only one, a number is none, or the two do not fit together.
    """
    if not any(".." in option for option in options):
        return None
    service, _, numbers = options[0].partition("=")
    lowest, _, highest = numbers.partition("..")
    refused = Unmet(Finding(f"scale is {' '.join(options)!r}", FORM))
    if len(options) > 1 or not service:
        raise refused
    if not all(number.isascii() and number.isdigit() for number in (lowest, highest)):
        raise refused
    found = Bounds(service, int(lowest), int(highest))
    if found.lowest > found.highest or found.highest == 0:
        raise refused
    return found


def next_number(now: int, calls: Sequence[int], within: Bounds, cooldown: int = COOLDOWN) -> int:
    """Return how many workers there are to be: more at once, fewer one by one.

    :param now: how many there are.
    :param calls: how many each datapoint has called for since that number changed, the newest last.
    :param cooldown: so many of them must call for fewer, in a row, before one goes.
    """
    last = calls[-cooldown:]
    if calls[-1] > now:
        number = calls[-1]
    elif len(last) == cooldown and max(last) < now:
        number = now - 1
    else:
        number = now
    return min(max(number, within.lowest), within.highest)


def called_for(datapoint: Datapoint, slots: int) -> int:
    """Return for how many workers there are tasks.

    :param slots: how many tasks one worker runs at a time.
    """
    return math.ceil((datapoint.waiting + datapoint.running) / slots)
