"""Parts of a stack die while an executor of AWS has ten tasks at work: each ends right."""

from collections import Counter
from collections.abc import Callable

import pytest
from airflow_client.client.models.dag_run_response import DAGRunResponse

from tests.executor_runs import at_work, release, starts
from tests.support import StackUnderTest
from windtunnel.diagnosis import unstarted
from windtunnel.waiting import wait_until

pytestmark = pytest.mark.overlay("ecs", "batch", "lambda-executor")

TASKS = 10


@pytest.fixture
def run(stack: StackUnderTest) -> DAGRunResponse:
    """A run whose tasks are all at work, until it is released."""
    stack.wait_for_health("ecs-agent")
    run = stack.airflow.trigger("test-executor-waits")
    s3 = stack.aws("s3")
    wait_until(f"{TASKS} tasks to be at work", lambda: len(starts(s3, run.dag_run_id)) == TASKS, timeout=120)
    return run


@pytest.fixture
def ends_well(stack: StackUnderTest, run: DAGRunResponse) -> Callable[[], Counter[str]]:
    """Release the run, wait for its end, and return how often each of its tasks has started."""

    def end() -> Counter[str]:
        s3 = stack.aws("s3")
        release(s3, run.dag_run_id)
        ended = stack.airflow.wait(run, timeout=240)
        assert ended.state == "success", "\n".join(stack.airflow.failures(ended))
        found = Counter(starts(s3, run.dag_run_id))
        assert len(found) == TASKS
        return found

    return end


def test_a_killed_scheduler_is_followed_by_one_that_adopts_them(
    stack: StackUnderTest, ends_well: Callable[[], Counter[str]]
) -> None:
    stack.kill("scheduler")
    stack.start("scheduler")
    stack.wait_for_health("scheduler")

    assert set(ends_well().values()) == {1}


def test_a_killed_agent_loses_them_and_airflow_tries_each_again(
    stack: StackUnderTest, run: DAGRunResponse, ends_well: Callable[[], Counter[str]]
) -> None:
    stack.kill("ecs-agent")
    stack.start("ecs-agent")
    stack.wait_for_health("ecs-agent")
    s3 = stack.aws("s3")
    wait_until("the second try of each", lambda: len(starts(s3, run.dag_run_id)) == 2 * TASKS, timeout=120)

    assert set(ends_well().values()) == {2}


def test_a_killed_localstack_takes_up_what_runs(
    stack: StackUnderTest, ends_well: Callable[[], Counter[str]]
) -> None:
    stack.kill("localstack")
    stack.start("localstack")
    stack.wait_for_health("localstack")

    # A task that asked for its release meanwhile may have failed, and is tried again once.
    assert set(ends_well().values()) <= {1, 2}


def test_that_no_agent_asks_for_work_is_found_until_one_does(
    stack: StackUnderTest, run: DAGRunResponse
) -> None:
    def problems() -> list[str]:
        return [finding.problem for finding in unstarted.findings(stack.stack)]

    assert problems() == []
    stack.kill("ecs-agent")
    # Its last question stays open for a while.
    (problem,) = wait_until("something to be found", problems, timeout=90)
    assert problem.startswith("no agent asks for work: ")

    stack.start("ecs-agent")
    stack.wait_for_health("ecs-agent")
    assert problems() == []
    # To fail the run would meet the scheduler, which is about to try its tasks again: Airflow's two deadlock.
    release(stack.aws("s3"), run.dag_run_id)
    assert stack.airflow.wait(run, timeout=120).state == "success"


@pytest.fixture(autouse=True)
def _nothing_is_left(stack: StackUnderTest) -> None:
    """Before each test: nothing of an earlier one is at work."""
    wait_until("what ran before to have ended", lambda: not at_work(stack.aws), timeout=60)
