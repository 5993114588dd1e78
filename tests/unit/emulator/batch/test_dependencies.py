"""Jobs that wait for others, and arrays of jobs."""

from tests.unit.emulator.batch.conftest import Agent, Batch


def test_a_job_waits_for_those_that_it_depends_on(batch: Batch, agent: Agent) -> None:
    first = batch.submit("first")
    second = batch.submit("second", dependsOn=[{"jobId": first}])
    (work,) = agent.take()
    assert batch.status(second) == "PENDING"

    agent.end(work)
    assert batch.status(second) == "STARTING"
    assert batch.job(second)["dependsOn"] == [{"jobId": first}]


def test_what_depends_on_a_job_that_fails_fails_down_to_the_last(batch: Batch, agent: Agent) -> None:
    first = batch.submit("first")
    second = batch.submit("second", dependsOn=[{"jobId": first}])
    third = batch.submit("third", dependsOn=[{"jobId": second}])
    agent.end(agent.take()[0], code=1)

    for job in (second, third):
        found = batch.job(job)
        assert (found["status"], found["statusReason"]) == ("FAILED", "Dependent Job failed")
        assert found["attempts"] == []


def test_a_cancelled_job_that_waits_for_others_ends_when_they_have_ended(batch: Batch, agent: Agent) -> None:
    first = batch.submit("first")
    second = batch.submit("second", dependsOn=[{"jobId": first}])
    batch("CancelJob", jobId=second, reason="not now")
    assert batch.status(second) == "PENDING"

    agent.end(agent.take()[0])
    assert (batch.status(second), batch.job(second)["statusReason"]) == ("FAILED", "not now")


def test_an_array_runs_each_of_its_children(batch: Batch, agent: Agent) -> None:
    array = batch.submit("array", arrayProperties={"size": 2})
    works = agent.take()
    assert [work.details["jobId"] for work in works] == [f"{array}:0", f"{array}:1"]
    variables = [work.containers[0]["environment"] for work in works]
    assert [one["AWS_BATCH_JOB_ARRAY_INDEX"] for one in variables] == ["0", "1"]
    assert {one["AWS_BATCH_JOB_ARRAY_SIZE"] for one in variables} == {"2"}
    assert batch.status(array) == "PENDING"

    for work in works:
        agent.end(work)
    found = batch.job(array)
    assert (found["status"], found["attempts"]) == ("SUCCEEDED", [])
    assert found["arrayProperties"]["size"] == 2
    assert found["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 2
    assert batch.job(f"{array}:1")["arrayProperties"] == {"index": 1}


def test_an_array_fails_when_all_have_ended_and_one_has_failed(batch: Batch, agent: Agent) -> None:
    array = batch.submit("array", arrayProperties={"size": 2}, retryStrategy={"attempts": 2})
    after = batch.submit("after", dependsOn=[{"jobId": array}])
    first, second = agent.take()
    agent.end(first, code=1)
    batch.job(array)
    agent.end(agent.take()[0], code=1)
    assert batch.status(array) == "PENDING"
    assert len(batch.job(f"{array}:0")["attempts"]) == 2

    agent.end(second)
    found = batch.job(array)
    assert (found["status"], found["statusReason"]) == ("FAILED", "Array Child Job failed")
    assert batch.status(after) == "FAILED"


def test_terminating_an_array_ends_all_its_children(batch: Batch, agent: Agent) -> None:
    array = batch.submit("array", arrayProperties={"size": 3})
    works = agent.take()
    agent.run(works[0])
    batch("TerminateJob", jobId=array, reason="enough")
    for identifier in agent.asked_to_stop():
        agent.end(agent.held[identifier], code=143, why="UserInitiated")

    found = batch.job(array)
    assert (found["status"], found["statusReason"]) == ("FAILED", "enough")
    assert found["arrayProperties"]["statusSummary"]["FAILED"] == 3


def test_the_children_of_a_sequential_array_run_one_after_the_other(batch: Batch, agent: Agent) -> None:
    array = batch.submit("array", arrayProperties={"size": 2}, dependsOn=[{"type": "SEQUENTIAL"}])
    (work,) = agent.take()
    assert batch.status(f"{array}:1") == "PENDING"

    agent.end(work)
    assert batch.status(f"{array}:1") == "STARTING"


def test_each_child_waits_for_its_counterpart(batch: Batch, agent: Agent) -> None:
    array = batch.submit("array", arrayProperties={"size": 2})
    depends_on = [{"jobId": array, "type": "N_TO_N"}]
    after = batch.submit("after", arrayProperties={"size": 2}, dependsOn=depends_on)
    works = agent.take()
    agent.end(works[1])

    assert [batch.status(f"{after}:{index}") for index in (0, 1)] == ["PENDING", "STARTING"]
    agent.end(works[0], code=1)
    assert batch.job(f"{after}:0")["statusReason"] == "Dependent Job failed"
