"""Queues and compute environments: who runs first, and how much at the same time."""

import pytest

from tests.unit.emulator.batch.conftest import Agent, Batch, Refused
from windtunnel_emulator.batch import placement


def names(batch: Batch, agent: Agent) -> list[str]:
    """The names of the jobs that have been started."""
    return [batch.job(work.details["jobId"])["jobName"] for work in agent.take()]


def test_a_compute_environment_bounds_what_runs_and_the_rest_waits_its_turn(batch: Batch, agent: Agent) -> None:
    for name in ("first", "second", "third", "fourth"):
        batch.submit(name)
    assert names(batch, agent) == ["first", "second"]

    agent.end(next(iter(agent.held.values())))
    batch("DescribeJobs", jobs=["any"])
    assert names(batch, agent) == ["third"]


def test_the_queue_with_the_higher_priority_goes_first(batch: Batch, agent: Agent) -> None:
    batch.job_queue("urgent", priority=10)
    batch.submit("runs")
    batch.submit("runs-too")
    batch.submit("waits")
    batch.submit("urgent", queue="urgent")
    assert names(batch, agent) == ["runs", "runs-too"]

    agent.end(next(iter(agent.held.values())))
    batch("DescribeJobs", jobs=["any"])
    assert names(batch, agent) == ["urgent"]


def test_a_job_that_is_too_big_says_so_and_blocks_its_queue_until_there_is_room(
    batch: Batch, agent: Agent
) -> None:
    big = batch.submit("big", containerOverrides={"vcpus": 3})
    small = batch.submit("small")
    assert (batch.status(big), batch.status(small)) == ("RUNNABLE", "RUNNABLE")
    assert batch.job(big)["statusReason"] == placement.TOO_BIG

    batch("UpdateComputeEnvironment", computeEnvironment="small", computeResources={"maxvCpus": 4})
    assert names(batch, agent) == ["big", "small"]
    assert "statusReason" not in batch.job(big)


def test_a_disabled_environment_starts_nothing_and_the_next_one_of_the_queue_does(
    batch: Batch, agent: Agent
) -> None:
    batch.environment("other")
    order = [{"order": 1, "computeEnvironment": "small"}, {"order": 2, "computeEnvironment": "other"}]
    batch("UpdateJobQueue", jobQueue="normal", computeEnvironmentOrder=order)
    batch("UpdateComputeEnvironment", computeEnvironment="small", state="DISABLED")
    batch.submit()

    (work,) = agent.take()
    assert work.containers[0]["environment"]["AWS_BATCH_CE_NAME"] == "other"


def test_a_fargate_job_needs_a_fargate_environment(batch: Batch, agent: Agent) -> None:
    batch.environment("serverless", kind="FARGATE")
    batch.job_queue("serverless", environment="serverless")
    required = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
    fargate = {"platformCapabilities": ["FARGATE"]}
    own = {"vcpus": None, "memory": None, "executionRoleArn": "arn:aws:iam::0:role/any"}
    batch.definition("small", fargate, **own, resourceRequirements=required)

    stuck = batch.submit(definition="small")
    batch.submit(definition="small", queue="serverless")
    assert batch.job(stuck)["statusReason"] == placement.NO_ENVIRONMENT
    (work,) = agent.take()
    assert work.cpu == 256


def test_an_unmanaged_environment_is_bounded_by_what_it_is_said_to_have(batch: Batch, agent: Agent) -> None:
    batch("CreateComputeEnvironment", computeEnvironmentName="own", type="UNMANAGED", unmanagedvCpus=1)
    batch.job_queue("own", environment="own")
    batch.submit("first", queue="own")
    batch.submit("second", queue="own")

    assert names(batch, agent) == ["first"]


def test_they_are_described_as_they_were_made(batch: Batch) -> None:
    (environment,) = batch("DescribeComputeEnvironments", computeEnvironments=["small"])["computeEnvironments"]
    assert (environment["status"], environment["state"]) == ("VALID", "ENABLED")
    assert environment["computeResources"]["maxvCpus"] == 2
    (queue,) = batch("DescribeJobQueues")["jobQueues"]
    order = [{"order": 1, "computeEnvironment": environment["computeEnvironmentArn"]}]
    assert (queue["computeEnvironmentOrder"], queue["priority"]) == (order, 1)


def test_they_are_deleted_when_nothing_needs_them_any_more(batch: Batch) -> None:
    job = batch.submit()
    with pytest.raises(Refused, match="DISABLED"):
        batch("DeleteJobQueue", jobQueue="normal")
    batch("UpdateComputeEnvironment", computeEnvironment="small", state="DISABLED")
    with pytest.raises(Refused, match="found existing JobQueue relationship"):
        batch("DeleteComputeEnvironment", computeEnvironment="small")

    batch("UpdateJobQueue", jobQueue="normal", state="DISABLED")
    batch("DeleteJobQueue", jobQueue="normal")
    batch("DeleteComputeEnvironment", computeEnvironment="small")

    assert batch.job(job)["statusReason"] == "The job queue was deleted"
    assert batch("DescribeJobQueues")["jobQueues"] == []
    assert batch("DescribeComputeEnvironments")["computeEnvironments"] == []


def test_a_disabled_queue_takes_no_job_and_finishes_those_it_has(batch: Batch, agent: Agent) -> None:
    for _ in range(3):
        batch.submit()
    batch("UpdateJobQueue", jobQueue="normal", state="DISABLED")
    with pytest.raises(Refused, match="normal is not in ENABLED state"):
        batch.submit()

    agent.end(agent.take()[0])
    batch("DescribeJobs", jobs=["any"])
    assert len(agent.take()) == 1
