"""``ListJobs`` and ``DescribeJobDefinitions``: what is listed, in which order, and in pages."""

from typing import Any

import pytest

from tests.unit.emulator.batch.conftest import Agent, Batch


def names(batch: Batch, **given: Any) -> list[str]:
    return [job["jobName"] for job in batch("ListJobs", **given)["jobSummaryList"]]


def test_a_queue_lists_what_runs_or_what_has_the_status_that_is_asked_for(batch: Batch, agent: Agent) -> None:
    for name in ("runs", "failed", "waits"):
        batch.submit(name)
    works = agent.take()
    agent.run(works[0])
    agent.end(works[1], code=3)

    assert names(batch, jobQueue="normal") == ["runs"]
    assert names(batch, jobQueue="normal", jobStatus="STARTING") == ["waits"]
    (failed,) = batch("ListJobs", jobQueue="normal", jobStatus="FAILED")["jobSummaryList"]
    assert failed["container"] == {"exitCode": 3}
    assert failed["statusReason"] == "Essential container in task exited"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("JOB_NAME", "ONE", ["one"]),
        ("JOB_NAME", "o*", ["other", "one"]),
        ("JOB_DEFINITION", "report", ["one"]),
        ("JOB_DEFINITION", "rep*", ["other", "one"]),
        ("AFTER_CREATED_AT", "1800000000000", ["other"]),
        ("BEFORE_CREATED_AT", "1800000000001", ["one"]),
        ("SHARE_IDENTIFIER", "mine", ["other"]),
    ],
)
def test_filters_list_the_latest_first_whatever_their_status(
    batch: Batch, clock: list[float], name: str, value: str, expected: list[str]
) -> None:
    batch.definition("replica")
    batch.submit("one")
    clock[0] += 1
    batch.submit("other", definition="replica", shareIdentifier="mine")

    assert names(batch, jobQueue="normal", filters=[{"name": name, "values": [value]}]) == expected


def test_an_array_lists_its_children_and_its_queue_does_not(batch: Batch) -> None:
    array = batch.submit("array", arrayProperties={"size": 3})
    children = batch("ListJobs", arrayJobId=array, jobStatus="STARTING")["jobSummaryList"]

    assert [child["jobId"] for child in children] == [f"{array}:0", f"{array}:1"]
    (parent,) = batch("ListJobs", jobQueue="normal", jobStatus="PENDING")["jobSummaryList"]
    assert parent["arrayProperties"]["statusSummary"]["STARTING"] == 2


def test_pages(batch: Batch) -> None:
    array = batch.submit("array", arrayProperties={"size": 3})
    batch("CancelJob", jobId=array, reason="never")
    batch("TerminateJob", jobId=array, reason="never")
    asked = {"arrayJobId": array, "jobStatus": "FAILED", "maxResults": 2}
    first = batch("ListJobs", **asked)
    second = batch("ListJobs", **asked, nextToken=first["nextToken"])

    found = [job["jobId"] for page in (first, second) for job in page["jobSummaryList"]]
    assert found == [f"{array}:{index}" for index in range(3)]
    assert "nextToken" not in second


def test_a_name_means_the_latest_revision_that_is_active(batch: Batch, agent: Agent) -> None:
    batch.definition(command=["second"])
    third = batch.definition(command=["third"])
    batch("DeregisterJobDefinition", jobDefinition=third)
    batch.submit()
    batch.submit(definition="report:1")

    assert [work.containers[0]["command"] for work in agent.take()] == [["second"], ["true"]]


def test_a_revision_has_nothing_of_an_earlier_one(batch: Batch) -> None:
    batch.definition(more={"retryStrategy": {"attempts": 3}, "parameters": {"a": "b"}, "propagateTags": True})
    batch.definition()

    (found,) = batch("DescribeJobDefinitions", jobDefinitions=["report:3"])["jobDefinitions"]
    assert found["parameters"] == {}
    assert not found.keys() & {"retryStrategy", "propagateTags"}


def test_definitions_are_found_by_name_revision_and_status(batch: Batch) -> None:
    second = batch.definition()
    batch("DeregisterJobDefinition", jobDefinition="report:1")

    def revisions(**asked: Any) -> list[int]:
        return [one["revision"] for one in batch("DescribeJobDefinitions", **asked)["jobDefinitions"]]

    assert revisions() == revisions(jobDefinitionName="report") == [1, 2]
    assert revisions(jobDefinitionName="report", status="ACTIVE") == [2]
    assert revisions(jobDefinitions=["report:1", second]) == [1, 2]
    assert revisions(jobDefinitionName="other") == []


def test_tags_of_a_definition_are_a_jobs_if_it_says_so(batch: Batch) -> None:
    batch.definition(more={"tags": {"team": "data", "kind": "any"}})
    job = batch.submit(propagateTags=True, tags={"kind": "own"})

    assert batch.job(job)["tags"] == {"team": "data", "kind": "own"}
    assert batch.job(batch.submit())["tags"] == {}
