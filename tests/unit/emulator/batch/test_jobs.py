"""Jobs pass through Batch's states as their attempts fare, and describe what became of them."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.emulator.batch.conftest import Agent, Batch, Refused
from windtunnel.waiting import wait_until
from windtunnel_emulator.batch import environments, operations
from windtunnel_emulator.batch.scheduler import Scheduler
from windtunnel_emulator.containers.work import KEPT, WorkQueue


def test_a_job_succeeds(batch: Batch, agent: Agent, clock: list[float]) -> None:
    job = batch.submit()
    assert batch.status(job) == "STARTING"

    (work,) = agent.take()
    agent.run(work)
    assert batch.status(job) == "RUNNING"
    stream = f"report/default/{work.id}"
    assert batch.job(job)["container"]["logStreamName"] == stream

    clock[0] += 1.5
    agent.end(work)
    found = batch.job(job)
    assert (found["status"], found["statusReason"]) == ("SUCCEEDED", "Essential container in task exited")
    (attempt,) = found["attempts"]
    assert attempt["container"]["exitCode"] == found["container"]["exitCode"] == 0
    assert attempt["container"]["logStreamName"] == stream
    assert attempt["container"]["taskArn"].endswith(f":task/AWSBatch-small/{work.id}")
    assert (attempt["startedAt"], attempt["stoppedAt"]) == (1_800_000_000_000, 1_800_000_001_500)
    assert (found["startedAt"], found["stoppedAt"]) == (attempt["startedAt"], attempt["stoppedAt"])


def test_its_container_is_what_definition_overrides_and_parameters_make_it(batch: Batch, agent: Agent) -> None:
    variables = [{"name": "COLOUR", "value": "red"}, {"name": "SIZE", "value": "1"}]
    required = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]
    batch.definition(
        "typed",
        {"parameters": {"who": "nobody", "greeting": "hello"}},
        vcpus=None,
        memory=None,
        command=["echo", "Ref::greeting", "to=Ref::who", "Ref::unknown"],
        environment=variables,
        resourceRequirements=required,
        secrets=[{"name": "PASSWORD", "valueFrom": "/password"}],
    )
    overrides = {
        "environment": [{"name": "COLOUR", "value": "blue"}],
        "resourceRequirements": [{"type": "MEMORY", "value": "128"}],
        "memory": 999,
    }
    job = batch.submit(definition="typed", parameters={"who": "you"}, containerOverrides=overrides)

    (work,) = agent.take()
    (container,) = work.containers
    assert container["command"] == ["echo", "hello", "to=you", "Ref::unknown"]
    assert container["environment"] == {
        "COLOUR": "blue",
        "SIZE": "1",
        "AWS_BATCH_CE_NAME": "small",
        "AWS_BATCH_JOB_ATTEMPT": "1",
        "AWS_BATCH_JOB_ID": job,
        "AWS_BATCH_JQ_NAME": "normal",
    }
    assert (container["memory"], work.memory, work.cpu) == (128, 128, 1024)
    assert container["secrets"] == [{"name": "PASSWORD", "valueFrom": "/password"}]
    assert batch.job(job)["parameters"] == {"who": "you", "greeting": "hello"}


@pytest.mark.parametrize(
    ("configuration", "logs"),
    [
        (None, ("/aws/batch/job", "report/default/ID", True)),
        ({"logDriver": "awslogs"}, ("/aws/batch/job", "report/default/ID", True)),
        (
            {"logDriver": "awslogs", "options": {"awslogs-group": "/own", "awslogs-stream-prefix": "mine"}},
            ("/own", "mine/default/ID", False),
        ),
        (
            {"logDriver": "awslogs", "options": {"awslogs-group": "/own", "awslogs-create-group": "true"}},
            ("/own", "report/default/ID", True),
        ),
        ({"logDriver": "json-file"}, None),
    ],
)
def test_where_its_output_goes_to(batch: Batch, agent: Agent, configuration: Any, logs: Any) -> None:
    batch.definition(logConfiguration=configuration)
    batch.submit()

    (work,) = agent.take()
    found = work.containers[0]["logs"]
    named = found and (found["group"], found["stream"].replace(work.id, "ID"), found["create_group"])
    assert named == logs


def test_a_failed_attempt_is_followed_by_another(batch: Batch, agent: Agent) -> None:
    job = batch.submit(retryStrategy={"attempts": 2})
    (first,) = agent.take()
    agent.end(first, code=3)
    assert batch.status(job) == "STARTING"

    (second,) = agent.take()
    assert second.containers[0]["environment"]["AWS_BATCH_JOB_ATTEMPT"] == "2"
    agent.end(second, code=4)
    found = batch.job(job)
    assert found["status"] == "FAILED"
    assert [one["container"]["exitCode"] for one in found["attempts"]] == [3, 4]
    assert len({one["container"]["logStreamName"] for one in found["attempts"]}) == 2


def test_the_strategy_of_a_job_goes_before_its_definitions(batch: Batch, agent: Agent) -> None:
    conditions = [{"onExitCode": "1*", "action": "EXIT"}]
    batch.definition(more={"retryStrategy": {"attempts": 3, "evaluateOnExit": conditions}})
    as_defined, as_submitted = batch.submit(), batch.submit(retryStrategy={"attempts": 2})

    for work in agent.take():
        agent.end(work, code=137)

    assert batch.status(as_defined) == "FAILED"
    assert batch.status(as_submitted) == "STARTING"


def test_a_job_that_cannot_start_says_why(batch: Batch, agent: Agent) -> None:
    job = batch.submit()
    (work,) = agent.take()
    agent.cannot_start(work, "CannotStartContainerError: no such program")

    found = batch.job(job)
    assert (found["status"], found["statusReason"]) == ("FAILED", "Task failed to start")
    assert found["container"]["reason"] == "CannotStartContainerError: no such program"
    assert not found["container"].keys() & {"exitCode", "logStreamName"}


def test_a_secret_that_is_not_there_is_the_reason_of_the_whole(batch: Batch, agent: Agent) -> None:
    job = batch.submit()
    (work,) = agent.take()
    agent.cannot_start(work, "ResourceInitializationError: unable to pull secrets")

    assert batch.job(job)["statusReason"] == "ResourceInitializationError: unable to pull secrets"


@pytest.mark.parametrize("code", [0, 143])
def test_a_terminated_job_has_failed_and_is_not_tried_again(batch: Batch, agent: Agent, code: int) -> None:
    job = batch.submit(retryStrategy={"attempts": 3})
    (work,) = agent.take()
    agent.run(work)
    batch("TerminateJob", jobId=job, reason="enough")
    assert agent.asked_to_stop() == [work.id]

    # A program may well end with 0 when it is told to end.
    agent.end(work, code=code, why="UserInitiated", reason="enough")
    found = batch.job(job)
    assert (found["status"], found["statusReason"], found["isTerminated"]) == ("FAILED", "enough", True)
    assert [one["statusReason"] for one in found["attempts"]] == ["enough"]
    assert agent.take() == []


def test_a_job_that_was_done_before_it_could_be_terminated_has_succeeded(batch: Batch, agent: Agent) -> None:
    job = batch.submit()
    (work,) = agent.take()
    agent.run(work)
    batch("TerminateJob", jobId=job, reason="enough")
    agent.end(work)

    assert batch.status(job) == "SUCCEEDED"


def test_a_job_that_no_agent_has_yet_is_terminated_at_once(batch: Batch) -> None:
    job = batch.submit(retryStrategy={"attempts": 3})
    batch("TerminateJob", jobId=job, reason="enough")

    assert (batch.status(job), batch.job(job)["statusReason"]) == ("FAILED", "enough")


def test_cancelling_ends_what_waits_and_leaves_what_runs(batch: Batch, agent: Agent) -> None:
    running, _, waiting = batch.submit(), batch.submit(), batch.submit()
    work = agent.take()[0]
    agent.run(work)
    assert batch.status(waiting) == "RUNNABLE"

    for job in (running, waiting):
        batch("CancelJob", jobId=job, reason="not now")

    assert batch.status(running) == "RUNNING"
    found = batch.job(waiting)
    assert (found["status"], found["statusReason"], found["isCancelled"]) == ("FAILED", "not now", True)
    assert found["attempts"] == []


def test_a_job_that_takes_too_long_is_stopped_and_not_tried_again(
    batch: Batch, agent: Agent, clock: list[float]
) -> None:
    job = batch.submit(timeout={"attemptDurationSeconds": 60}, retryStrategy={"attempts": 2})
    (work,) = agent.take()
    agent.run(work)
    batch.job(job)
    clock[0] += 59
    assert operations.scheduler().step() == pytest.approx(1)
    assert agent.asked_to_stop() == []

    clock[0] += 1
    batch.job(job)
    assert agent.asked_to_stop() == [work.id]
    agent.end(work, code=143, why="UserInitiated")
    found = batch.job(job)
    assert (found["status"], found["statusReason"]) == ("FAILED", "Job attempt duration exceeded timeout")
    assert found["isTerminated"] is False


def test_overrides_that_ecs_would_not_take_fail_the_job(batch: Batch, agent: Agent) -> None:
    job = batch.submit(containerOverrides={"command": ["echo", "x" * 8192]})

    found = batch.job(job)
    assert found["status"] == "FAILED"
    assert found["statusReason"] == "Container Overrides length must be at most 8192"
    assert agent.take() == []


def test_what_an_agent_has_lost_is_tried_again(batch: Batch, agent: Agent) -> None:
    job = batch.submit(retryStrategy={"attempts": 2})
    (work,) = agent.take()
    agent.run(work)
    agent.held = {}
    agent.take()
    batch.job(job)

    (again,) = agent.take()
    assert again.id != work.id
    assert batch.job(job)["attempts"][0]["statusReason"] == "The agent has lost it"


def test_jobs_outlive_localstack(
    batch: Batch, agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, waiting = batch.submit(retryStrategy={"attempts": 2}), batch.submit(dependsOn=[])
    works = agent.take()
    agent.run(works[0])
    agent.end(works[1])
    batch.job(running)
    operations.scheduler().close()
    batch.queue.close()

    queue = WorkQueue(tmp_path)
    scheduler = Scheduler(queue, environments.backend, tmp_path)
    monkeypatch.setattr(operations, "scheduler", lambda: scheduler)
    scheduler.step(is_thorough=True)
    assert batch.status(running) == "RUNNING"
    assert batch.status(waiting) == "SUCCEEDED"
    agent._queue = queue
    agent.end(works[0], code=1)
    assert batch.status(running) == "STARTING"
    scheduler.close()
    queue.close()


def test_an_attempt_that_was_not_handed_over_is_handed_over_once(
    batch: Batch, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(work: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(batch.queue, "add", die)
        with pytest.raises(KeyboardInterrupt):
            batch.submit()

    operations.scheduler().step(is_thorough=True)
    operations.scheduler().step(is_thorough=True)
    assert len(agent.take()) == 1


def test_the_scheduler_goes_on_by_itself(batch: Batch, agent: Agent) -> None:
    operations.scheduler().start()
    batch.submit(retryStrategy={"attempts": 2})
    (first,) = agent.take()
    agent.end(first, code=1)

    wait_until("the second attempt, which nobody asks for", agent.take, timeout=10)


def test_jobs_are_forgotten_after_their_time(batch: Batch, agent: Agent, clock: list[float]) -> None:
    old = batch.submit()
    agent.end(agent.take()[0])
    batch.job(old)
    clock[0] += KEPT["batch"] + 1
    new = batch.submit()

    assert [job["jobId"] for job in batch("DescribeJobs", jobs=[old, new])["jobs"]] == [new]


def test_another_account_has_nothing_to_do_with_it(batch: Batch) -> None:
    job = batch.submit()
    other = Batch(batch.queue)

    assert other("DescribeJobs", jobs=[job])["jobs"] == []
    other("TerminateJob", jobId=job, reason="not mine")
    assert batch.status(job) == "STARTING"
    with pytest.raises(Refused, match="JobQueue normal not found"):
        other.submit()
