import pytest

from benchmarks import executors
from benchmarks.report import Report


@pytest.mark.parametrize(("most", "over"), [(1.25, False), (1.5, True)])
def test_slots_that_are_in_each_others_way_are_over_the_bar(most: float, over: bool) -> None:
    report = Report("executors")

    executors.compare({1: 1.0, 2: 1.1, 4: most}, report)

    assert report.over is over
