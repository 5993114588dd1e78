import json
from pathlib import Path

import pytest

from benchmarks import bench
from benchmarks.report import Report, p95


def test_p95_is_what_95_of_100_do_not_exceed() -> None:
    assert p95([float(value) for value in range(101)]) == 95.0


@pytest.mark.parametrize(("value", "over"), [(14.9, False), (15.0, False), (15.1, True)])
def test_a_figure_may_reach_its_bar(value: float, over: bool) -> None:
    report = Report("stack")
    report.add("a figure without a bar", 1000.0, "s")
    report.add("a warm call", value, "ms", 15)

    assert report.over is over


def test_saving_one_part_keeps_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "results.json"
    stack = {"machine": "another", "figures": {}}
    results.write_text(json.dumps({"stack": stack, "operator": {}, "a part of earlier times": {}}))
    monkeypatch.setattr(bench, "RESULTS", results)
    report = Report("operator")
    report.add("relay lag", 0.5, "s", 1)

    bench.save(report)

    assert json.loads(results.read_text()) == {
        "stack": stack,
        "operator": {
            "machine": report.machine,
            "figures": {"relay lag": {"value": 0.5, "unit": "s", "bar": 1}},
        },
    }
