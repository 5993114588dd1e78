import pytest

from benchmarks import celery
from benchmarks.report import Report


@pytest.mark.parametrize(
    ("two", "four", "over"), [(49, 40, False), (60, 40, True), (49, 50, True)], ids=["well", "two", "four"]
)
def test_workers_that_gain_too_little_are_over_the_bar(two: float, four: float, over: bool) -> None:
    report = Report("celery")

    celery.compare({1: 90, 2: two, 4: four}, report)

    assert report.over is over
