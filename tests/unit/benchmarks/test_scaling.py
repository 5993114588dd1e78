from datetime import UTC, datetime, timedelta

from benchmarks import scaling
from windtunnel.stack.scaling import Datapoint, Decision

BEGIN = datetime(2026, 1, 1, 9, 5, tzinfo=UTC)


def decision(minute: int, load: float | None, before: int, after: int) -> Decision:
    return Decision(Datapoint(BEGIN + timedelta(minutes=minute), 0, 0, load), before, after)


def test_the_picture_has_a_point_for_each_minute_that_was_measured() -> None:
    decisions = [decision(0, None, 1, 1), decision(1, 17.254, 1, 4), decision(3, 0.5, 4, 4)]

    assert scaling.picture(decisions).splitlines() == [
        "```mermaid",
        "xychart-beta",
        '    title "Load (line) and workers (bars)"',
        '    x-axis "minutes" [0, 1, 3]',
        '    y-axis "tasks per slot, workers" 0 --> 18',
        "    bar [1, 1, 4]",
        "    line [0, 17.25, 0.5]",
        "```",
    ]
