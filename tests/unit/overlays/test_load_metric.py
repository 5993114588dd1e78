"""The function that measures the load of Celery's queues, with a stand-in for SQS and CloudWatch."""

import importlib.util
from datetime import UTC, datetime
from typing import Any

import pytest

from windtunnel.stack.settings import ROOT

from ..windtunnel.stand_ins.aws import client

NOW = datetime(2026, 1, 1, 9, 5, 42, tzinfo=UTC)
ADDRESS = "http://localhost/000000000000/"
EVENT = {"prefix": "tunnel-"}


class Aws:
    """The messages of each queue, waiting and in flight, and the slots that workers have told of."""

    def __init__(self) -> None:
        self.queues = {"tunnel-default": (3, 4), "tunnel-heavy": (1, 0), "tunnel-not-tasks": (2, 0)}
        self.slots = {"tunnel-default": [8.0], "tunnel-heavy": [1.0]}
        attributes = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")

        def count(asked: Any) -> dict[str, Any]:
            assert set(asked["AttributeNames"]) == set(attributes)
            numbers = map(str, self.queues[asked["QueueUrl"].removeprefix(ADDRESS)])
            return {"Attributes": dict(zip(attributes, numbers, strict=True))}

        def listed(asked: Any) -> dict[str, Any]:
            assert asked == {"QueueNamePrefix": "tunnel-"}
            return {"QueueUrls": [f"{ADDRESS}{name}" for name in self.queues]} if self.queues else {}

        def told(asked: Any) -> dict[str, Any]:
            self.asked = asked
            results = []
            for query in asked["MetricDataQueries"]:
                (dimension,) = query["MetricStat"]["Metric"]["Dimensions"]
                values = self.slots.get(dimension["Value"], [])
                results.append({"Id": query["Id"], "Values": values})
            # CloudWatch promises no order.
            return {"MetricDataResults": results[::-1]}

        self.clients = {
            "sqs": client("sqs", ListQueues=listed, GetQueueAttributes=count),
            "cloudwatch": client("cloudwatch", GetMetricData=told, PutMetricData={}),
        }

    @property
    def put(self) -> list[Any]:
        return [asked for name, asked in self.clients["cloudwatch"].asked if name == "PutMetricData"]


@pytest.fixture
def aws() -> Aws:
    return Aws()


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch, aws: Aws) -> Any:
    path = ROOT / "overlays/celery/load_metric/lambda_function.py"
    spec = importlib.util.spec_from_file_location("load_metric_function", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.boto3, "client", aws.clients.__getitem__)

    class Clock(datetime):
        @classmethod
        def now(cls, _: Any = None) -> datetime:  # type: ignore[override]
            return NOW

    monkeypatch.setattr(module, "datetime", Clock)
    return module


@pytest.mark.parametrize(
    ("waiting", "running", "slots", "load"),
    [
        (0, 0, 4, 0),
        (0, 2, 4, 0.5),
        # All slots are busy and nothing waits.
        (0, 4, 4, 1),
        (4, 4, 4, 2),
        (96, 4, 4, 25),
        (96, 4, 16, 6.25),
        # A worker fetches what it has no slot for.
        (0, 6, 4, 1.5),
        (0, 0, 0, None),
        (5, 0, 0, None),
    ],
)
def test_the_formula(function: Any, waiting: int, running: int, slots: float, load: float | None) -> None:
    assert function.load(waiting, running, slots) == load


def test_each_queue_has_its_metrics_of_one_moment_and_with_units(function: Any, aws: Aws) -> None:
    answer = function.lambda_handler(EVENT, None)

    assert answer == {
        "tunnel-default": {"Waiting": 3, "Running": 4, "Load": 7 / 8},
        "tunnel-heavy": {"Waiting": 1, "Running": 0, "Load": 1},
        # Without slots there is no load.
        "tunnel-not-tasks": {"Waiting": 2, "Running": 0},
    }
    (put,) = aws.put
    assert put["Namespace"] == "Airflow/Celery"
    assert {data["Timestamp"] for data in put["MetricData"]} == {NOW}
    written = {
        (data["Dimensions"][0]["Value"], data["MetricName"]): (data["Value"], data["Unit"])
        for data in put["MetricData"]
    }
    assert written == {
        ("tunnel-default", "Waiting"): (3, "Count"),
        ("tunnel-default", "Running"): (4, "Count"),
        ("tunnel-default", "Load"): (7 / 8, "None"),
        ("tunnel-heavy", "Waiting"): (1, "Count"),
        ("tunnel-heavy", "Running"): (0, "Count"),
        ("tunnel-heavy", "Load"): (1, "None"),
        ("tunnel-not-tasks", "Waiting"): (2, "Count"),
        ("tunnel-not-tasks", "Running"): (0, "Count"),
    }


def test_slots_are_those_of_the_last_full_minute(function: Any, aws: Aws) -> None:
    function.lambda_handler(EVENT, None)

    assert aws.asked["StartTime"] == datetime(2026, 1, 1, 9, 4, tzinfo=UTC)
    assert aws.asked["EndTime"] == datetime(2026, 1, 1, 9, 5, tzinfo=UTC)
    for query in aws.asked["MetricDataQueries"]:
        assert query["MetricStat"]["Metric"]["MetricName"] == "Slots"
        # Of all workers together.
        assert (query["MetricStat"]["Period"], query["MetricStat"]["Stat"]) == (60, "Sum")


def test_without_a_queue_nothing_is_written(function: Any, aws: Aws) -> None:
    aws.queues = {}

    assert function.lambda_handler(EVENT, None) == {}
    assert aws.put == []
