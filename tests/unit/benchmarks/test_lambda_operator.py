import pytest

from benchmarks.lambda_operator import added, reported_ms

START = "START RequestId: 6f0c1d Version: $LATEST\n[INFO] line 1 of 1\nEND RequestId: 6f0c1d\n"
REPORT = "REPORT RequestId: 6f0c1d\tDuration: 1012.25 ms\tBilled Duration: 1068 ms\tMemory Size: 128 MB"


@pytest.mark.parametrize(
    "log",
    [REPORT, START + REPORT, START + REPORT + "\tInit Duration: 55.10 ms\t\n"],
    ids=["the line", "a log's tail", "a cold start"],
)
def test_a_calls_duration_is_without_billing_and_start(log: str) -> None:
    assert reported_ms(log) == 1012.25


def test_a_log_without_report_is_no_figure() -> None:
    with pytest.raises(ValueError, match="no REPORT line in 'START"):
        reported_ms(START)


def test_calls_by_turns_are_compared_in_pairs() -> None:
    assert list(added([2.0, 12.0, 3.0, 14.0])) == [10.0, 11.0]
