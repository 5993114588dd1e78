"""The load of Celery's queues, as workers, EventBridge and a function measure it; workers that follow it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.executor_runs import release, starts
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.stack import following
from windtunnel.stack.scaling import Bounds, Decision
from windtunnel.testing.stack import RunningStack
from windtunnel.waiting import wait_until

pytestmark = pytest.mark.overlay("celery")

SLOTS = 4
# Of the DAG test-executor-waits.
TASKS = 10


def test_the_load_of_a_queue_is_measured_each_minute(
    airflow: AirflowClient, windtunnel: RunningStack, aws_client: Callable[[str], Any], s3_client: Any
) -> None:
    cloudwatch, queue = aws_client("cloudwatch"), f"{windtunnel.stack.project}-default"

    def is_measured() -> bool:
        """Whether the newest datapoint has these tasks; the demo's schedule may add one of its own."""
        point = following.newest(cloudwatch, [queue], datetime.now(UTC) - timedelta(minutes=1))
        tasks = point.waiting + point.running if point else 0
        # A worker's first full minute has all of its slots.
        return point is not None and tasks >= TASKS and point.load == tasks / SLOTS

    run = airflow.trigger("test-executor-waits")
    wait_until("a task in each slot", lambda: len(starts(s3_client, run.dag_run_id)) == SLOTS, timeout=60)
    wait_until("the load of these tasks", is_measured, timeout=200, interval=2)
    release(s3_client, run.dag_run_id)
    assert airflow.wait(run, timeout=120).state == "success"


@pytest.fixture
def one_worker(windtunnel: RunningStack) -> Iterator[None]:
    yield
    windtunnel.stack.scaled({"worker": 1}).up(only=["worker"])


@pytest.mark.rare
@pytest.mark.usefixtures("one_worker")
def test_workers_come_with_a_burst_and_go_after_it(
    airflow: AirflowClient, windtunnel: RunningStack, s3_client: Any
) -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        assert len(said) == 1, line

    run = airflow.trigger("test-celery-shares", {"tasks": 100, "seconds": 7})
    begin = datetime.now(UTC)
    decisions: list[Decision] = []
    # With less patience than a user's, which only makes it slower.
    for decision in following.follow(windtunnel.stack, Bounds("worker", 1, 4), say, cooldown=1):
        decisions.append(decision)
        point = decision.datapoint
        if decision.after == 1 and point.time - begin > timedelta(minutes=2):
            break

    loads = {decision.datapoint.time: decision.datapoint.load or 0 for decision in decisions}
    above = [time for time, load in loads.items() if load > 1]
    assert above[0] - begin < timedelta(minutes=2)
    assert max(decision.after for decision in decisions) == 4
    assert loads[max(loads)] < 1
    ended = airflow.wait(run, timeout=60)
    assert ended.state == "success", "\n".join(airflow.failures(ended))
    assert starts(s3_client, run.dag_run_id) == sorted(map(str, range(100)))
