from datetime import UTC, datetime

import pytest

from windtunnel.stack import scaling
from windtunnel.stack.errors import Unmet
from windtunnel.stack.scaling import Bounds, Datapoint, Decision

AT = datetime(2026, 1, 1, 9, 5, tzinfo=UTC)
WITHIN = Bounds("worker", 1, 4)


def after(calls: list[int], start: int, within: Bounds = WITHIN, cooldown: int = 3) -> list[int]:
    """The number of workers after each datapoint, as the loop asks for it."""
    numbers, since, now = [], list[int](), start
    for call in calls:
        since.append(call)
        before, now = now, scaling.next_number(now, since, within, cooldown)
        if now != before:
            since = []
        numbers.append(now)
    return numbers


@pytest.mark.parametrize(
    ("calls", "start", "numbers"),
    [
        # Up at once, as far as the maximum allows.
        ([2], 1, [2]),
        ([25], 1, [4]),
        ([3, 4], 1, [3, 4]),
        # Enough is enough.
        ([2, 2, 2, 2], 2, [2, 2, 2, 2]),
        # Down after three in a row, by one, and then three more.
        ([0, 0], 4, [4, 4]),
        ([0, 0, 0], 4, [4, 4, 3]),
        ([0] * 9, 4, [4, 4, 3, 3, 3, 2, 2, 2, 1]),
        ([0] * 6, 2, [2, 2, 1, 1, 1, 1]),
        # The three need not be the same, but each must call for fewer.
        ([2, 0, 1], 3, [3, 3, 2]),
        ([0, 0, 3, 0, 0, 0], 3, [3, 3, 3, 3, 3, 2]),
        # A burst in between begins anew.
        ([0, 0, 4, 0, 0, 0], 3, [3, 3, 4, 4, 4, 3]),
    ],
)
def test_more_at_once_and_fewer_one_by_one(calls: list[int], start: int, numbers: list[int]) -> None:
    assert after(calls, start) == numbers


@pytest.mark.parametrize(
    ("calls", "start", "within", "numbers"),
    [
        ([0], 0, Bounds("worker", 1, 4), [1]),
        ([0], 9, Bounds("worker", 1, 4), [4]),
        ([0, 0, 0, 1], 1, Bounds("worker", 0, 4), [1, 1, 0, 1]),
        ([0, 0, 0, 9], 2, Bounds("worker", 2, 2), [2, 2, 2, 2]),
    ],
)
def test_the_bounds_hold_at_once(calls: list[int], start: int, within: Bounds, numbers: list[int]) -> None:
    assert after(calls, start, within) == numbers


def test_how_soon_one_goes_can_be_said() -> None:
    assert after([0, 0, 0], 4, cooldown=1) == [3, 2, 1]


@pytest.mark.parametrize(
    ("waiting", "running", "workers"),
    [(0, 0, 0), (0, 1, 1), (1, 0, 1), (0, 4, 1), (1, 4, 2), (96, 4, 25), (0.5, 4, 2)],
)
def test_so_many_workers_as_there_are_tasks_for(waiting: float, running: float, workers: int) -> None:
    assert scaling.called_for(Datapoint(AT, waiting, running, None), 4) == workers


def test_a_decision_is_a_line() -> None:
    clock = AT.astimezone().strftime("%H:%M")

    assert str(Decision(Datapoint(AT, 96, 4, 25), 1, 4)) == (
        f"{clock}  load 25.00  waiting  96  running   4  workers 1 -> 4"
    )
    assert "load    -  waiting" in str(Decision(Datapoint(AT, 2, 0, None), 0, 1))


def test_bounds_are_read() -> None:
    assert scaling.bounds(["worker=1..4"]) == WITHIN
    assert scaling.bounds(["heavy-worker=0..1"]) == Bounds("heavy-worker", 0, 1)
    assert scaling.bounds(["worker=3", "heavy-worker=0"]) is None


@pytest.mark.bad_input(82)
@pytest.mark.parametrize(
    "options",
    [
        ["worker=4..1"],
        ["worker=0..0"],
        ["worker=0..x"],
        ["worker=..4"],
        ["worker=1.."],
        ["worker=-1..4"],
        ["worker=1...4"],
        ["worker=٣..٤"],
        ["=1..4"],
        ["1..4"],
        ["worker=1..4", "heavy-worker=0..1"],
        ["heavy-worker=1", "worker=1..4"],
    ],
)
def test_what_is_no_range_is_refused(options: list[str]) -> None:
    with pytest.raises(Unmet, match="scale is") as refused:
        scaling.bounds(options)

    (finding,) = refused.value.findings
    assert " ".join(options) in finding.problem
    assert "worker=1..4" in finding.remedy
