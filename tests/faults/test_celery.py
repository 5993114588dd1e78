"""Parts of a stack die while two workers of Celery have tasks, and more wait in the queue."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from airflow_client.client.models.dag_run_response import DAGRunResponse

from tests.executor_runs import release, starts
from tests.support import StackUnderTest
from windtunnel.waiting import wait_until

pytestmark = pytest.mark.overlay("celery")

SLOTS = 8
# A burst has so many more than there are slots.
QUEUED = 30


@pytest.fixture(autouse=True)
def _two_workers(stack: StackUnderTest) -> None:
    stack.stack = stack.stack.scaled({"worker": 2})
    stack.stack.up(only=["worker"])


@pytest.fixture
def started(stack: StackUnderTest) -> Callable[[DAGRunResponse], Counter[str]]:
    """How often each task of a run has started."""
    s3 = stack.aws("s3")
    return lambda run: Counter(starts(s3, run.dag_run_id))


def ends_well(stack: StackUnderTest, run: DAGRunResponse) -> None:
    ended = stack.airflow.wait(run, timeout=240)
    assert ended.state == "success", "\n".join(stack.airflow.failures(ended))


@pytest.fixture
def burst(stack: StackUnderTest, started: Any) -> DAGRunResponse:
    """Tasks of 3 s, of which the first are at work and all others wait in the queue."""
    run = stack.airflow.trigger("test-celery-shares", {"tasks": SLOTS + QUEUED, "seconds": 3})
    queue = stack.aws("sqs").get_queue_url(QueueName=f"{stack.stack.project}-default")["QueueUrl"]
    name = "ApproximateNumberOfMessages"

    def waiting() -> int:
        answer = stack.aws("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=[name])
        return int(answer["Attributes"][name])

    wait_until("tasks to be at work", lambda: started(run).total() >= SLOTS // 2, timeout=60)
    wait_until("tasks to wait", lambda: waiting() >= QUEUED // 2, timeout=60)
    return run


@pytest.mark.parametrize("service", ["localstack", "postgres"])
def test_each_task_of_a_burst_runs_once_whatever_is_restarted(
    stack: StackUnderTest, burst: DAGRunResponse, started: Any, service: str
) -> None:
    stack.restart(service)

    ends_well(stack, burst)
    assert started(burst) == dict.fromkeys(map(str, range(SLOTS + QUEUED)), 1)


def test_a_scheduler_that_is_killed_is_followed_by_one_that_goes_on(
    stack: StackUnderTest, burst: DAGRunResponse, started: Any
) -> None:
    stack.kill("scheduler")
    stack.start("scheduler")

    ends_well(stack, burst)
    assert started(burst) == dict.fromkeys(map(str, range(SLOTS + QUEUED)), 1)


def test_tasks_of_a_killed_worker_are_tried_again_once_and_the_others_go_on(
    stack: StackUnderTest, started: Any
) -> None:
    run = stack.airflow.trigger("test-executor-waits")
    wait_until("all slots to be taken", lambda: started(run).total() == SLOTS, timeout=60)

    stack.kill("worker-1")
    stack.start("worker-1")

    # It takes the two that have waited, and then two of those that were lost.
    wait_until("tasks to be tried again", lambda: started(run).total() == SLOTS + 4, timeout=120)
    assert sorted(started(run).values()) == [1] * 8 + [2] * 2
    release(stack.aws("s3"), run.dag_run_id)
    ends_well(stack, run)
    assert sorted(started(run).values()) == [1] * 6 + [2] * 4


@pytest.mark.rare
def test_what_a_worker_has_not_ended_within_its_grace_is_tried_again_once(
    stack: StackUnderTest, started: Any
) -> None:
    run = stack.airflow.trigger("test-executor-waits")
    wait_until("all slots to be taken", lambda: started(run).total() == SLOTS, timeout=60)

    stack.stack = stack.stack.scaled({"worker": 1})
    stack.stack.up(only=["worker"])
    assert sorted(started(run).values()) == [1] * SLOTS, "the worker has not been told to take no more"

    release(stack.aws("s3"), run.dag_run_id)
    ends_well(stack, run)
    assert sorted(started(run).values()) == [1] * 6 + [2] * 4
