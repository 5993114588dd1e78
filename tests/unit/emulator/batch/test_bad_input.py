"""What Batch refuses: the same code as on AWS, with a message that names the thing, and nothing half made."""

from typing import Any

import pytest

from tests.unit.emulator.batch.conftest import Agent, Batch, Refused

CONTAINER = {"image": "windtunnel-airflow", "vcpus": 1, "memory": 64}
FARGATE = {"platformCapabilities": ["FARGATE"]}
ROLE = {"executionRoleArn": "arn:aws:iam::0:role/any"}


def required(vcpus: str, memory: str) -> dict[str, Any]:
    return {"resourceRequirements": [{"type": "VCPU", "value": vcpus}, {"type": "MEMORY", "value": memory}]}


JOBS: list[tuple[dict[str, Any], str]] = [
    ({"jobName": "one two"}, "Job name should match valid pattern"),
    ({"jobName": "x" * 129}, "Job name should match valid pattern"),
    ({"jobQueue": "other"}, "JobQueue other not found"),
    ({"jobDefinition": "other"}, "JobDefinition name other does not exist or is not in ACTIVE status"),
    ({"jobDefinition": "report:7"}, "JobDefinition name report:7 does not exist"),
    ({"jobDefinition": "report:x"}, "JobDefinition name report:x does not exist"),
    ({"jobDefinition": "nodes"}, "does not run multi-node jobs \\(nodes\\): see docs/batch.md"),
    ({"arrayProperties": {"size": 1}}, "Array size must be between 2 and 10000"),
    ({"arrayProperties": {"size": 10_001}}, "Array size must be between 2 and 10000"),
    ({"retryStrategy": {"attempts": 11}}, "attempts must be between 1 and 10"),
    ({"retryStrategy": {"attempts": 0}}, "attempts must be between 1 and 10"),
    (
        {"retryStrategy": {"evaluateOnExit": [{"onExitCode": "1", "action": "EXIT"}]}},
        "evaluateOnExit must have attempts",
    ),
    (
        {"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"onExitCode": "1", "action": "EXIT"}] * 6}},
        "at most 5 conditions",
    ),
    (
        {"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"onExitCode": "1", "action": "AGAIN"}]}},
        "action must be one of RETRY, EXIT",
    ),
    ({"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "EXIT"}]}}, "must have a condition"),
    ({"timeout": {"attemptDurationSeconds": 59}}, "at least 60 seconds"),
    ({"dependsOn": [{"jobId": "other"}]}, "Job other that the job depends on does not exist"),
    ({"dependsOn": [{"jobId": str(number)} for number in range(21)]}, "a maximum of 20 jobs"),
    ({"dependsOn": [{"type": "SEQUENTIAL"}]}, "SEQUENTIAL is for array jobs alone"),
    ({"dependsOn": [{}]}, "must have a jobId"),
    (
        {"arrayProperties": {"size": 2}, "dependsOn": [{"jobId": "FIRST", "type": "N_TO_N"}]},
        "is not an array of the size 2",
    ),
    ({"containerOverrides": {"vcpus": 0, "memory": 2}}, "memory of at least 4 MiB"),
    (
        {"containerOverrides": {"environment": [{"name": "AWS_BATCH_JOB_ID", "value": "x"}]}},
        "AWS_BATCH_JOB_ID must not start with AWS_BATCH",
    ),
    (
        {"containerOverrides": {"resourceRequirements": [{"type": "MEMORY", "value": "much"}]}},
        "values must be numbers",
    ),
    ({"parameters": {"text": "x" * (30 << 10)}}, "Job size must be less than 30 KiB, got 31 KiB"),
]


@pytest.mark.bad_input(72)
@pytest.mark.parametrize(("given", "message"), JOBS)
def test_jobs(batch: Batch, agent: Agent, given: dict[str, Any], message: str) -> None:
    nodes = {
        "numNodes": 1,
        "mainNode": 0,
        "nodeRangeProperties": [{"targetNodes": "0:0", "container": CONTAINER}],
    }
    batch("RegisterJobDefinition", jobDefinitionName="nodes", type="multinode", nodeProperties=nodes)
    first = batch.submit("first")
    for dependency in given.get("dependsOn", ()):
        if dependency.get("jobId") == "FIRST":
            dependency["jobId"] = first

    with pytest.raises(Refused, match=message) as refused:
        batch("SubmitJob", **{"jobName": "one", "jobQueue": "normal", "jobDefinition": "report", **given})

    assert refused.value.args[0] == "ClientException"
    assert [work.details["jobId"] for work in agent.take()] == [first]


DEFINITIONS: list[tuple[dict[str, Any], str]] = [
    ({"jobDefinitionName": "one two"}, "Job definition name should match valid pattern"),
    ({"containerProperties": {**CONTAINER, "image": ""}}, "must contain an image"),
    ({"containerProperties": {"image": "i", "memory": 64}}, "vcpus greater than 0"),
    ({"containerProperties": {"image": "i", "vcpus": 1}}, "memory of at least 4 MiB"),
    ({"containerProperties": {"image": "i", **required("0.5", "64")}}, "a whole number for EC2 jobs"),
    ({**FARGATE, "containerProperties": {"image": "i", **required("1", "2048")}}, "executionRoleArn"),
    ({**FARGATE, "containerProperties": {**CONTAINER, **ROLE}}, "vcpus is not applicable for Fargate"),
    (
        {**FARGATE, "containerProperties": {"image": "i", **ROLE, **required("1", "4000")}},
        r"Fargate resource requirements \(1.00 vCPU, 4000 MiB\) not valid",
    ),
    ({"containerProperties": None}, "containerProperties"),
    ({"retryStrategy": {"attempts": 11}}, "attempts must be between 1 and 10"),
    ({"timeout": {"attemptDurationSeconds": 1}}, "at least 60 seconds"),
]


@pytest.mark.bad_input(73)
@pytest.mark.parametrize(("given", "message"), DEFINITIONS)
def test_definitions(batch: Batch, given: dict[str, Any], message: str) -> None:
    asked = {"jobDefinitionName": "new", "type": "container", "containerProperties": CONTAINER, **given}
    with pytest.raises(Refused, match=message) as refused:
        batch("RegisterJobDefinition", **{key: value for key, value in asked.items() if value is not None})

    assert refused.value.args[0] == "ClientException"
    assert len(batch("DescribeJobDefinitions")["jobDefinitions"]) == 1


RESOURCES = {"type": "EC2", "maxvCpus": 1, "subnets": ["subnet-any"]}
QUEUES: list[tuple[str, dict[str, Any], str]] = [
    ("CreateComputeEnvironment", {"computeEnvironmentName": "small"}, "Object already exists"),
    ("CreateComputeEnvironment", {"computeEnvironmentName": "a b"}, "should match valid pattern"),
    ("CreateComputeEnvironment", {"computeResources": None}, "computeResources must be provided"),
    ("CreateComputeEnvironment", {"computeResources": {**RESOURCES, "maxvCpus": 0}}, "maxvCpus"),
    ("CreateComputeEnvironment", {"computeResources": {**RESOURCES, "minvCpus": 2}}, "minvCpus"),
    (
        "CreateComputeEnvironment",
        {"computeResources": {**RESOURCES, "type": "FARGATE", "instanceTypes": ["optimal"]}},
        "instanceTypes is not applicable for Fargate",
    ),
    ("UpdateComputeEnvironment", {"computeEnvironment": "other"}, "ComputeEnvironment other does not exist"),
    ("CreateJobQueue", {"jobQueueName": "normal"}, "Object already exists"),
    ("CreateJobQueue", {"priority": 1001}, "priority must be between 0 and 1000"),
    ("CreateJobQueue", {"computeEnvironmentOrder": []}, "between 1 and 3 compute environments"),
    (
        "CreateJobQueue",
        {"computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "other"}]},
        "ComputeEnvironment other does not exist",
    ),
    (
        "CreateJobQueue",
        {"computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "small"}] * 2},
        "order of each compute environment must be unique",
    ),
    (
        "CreateJobQueue",
        {
            "computeEnvironmentOrder": [
                {"order": 1, "computeEnvironment": "small"},
                {"order": 2, "computeEnvironment": "serverless"},
            ]
        },
        "cannot mix Fargate and EC2",
    ),
    ("UpdateJobQueue", {"jobQueue": "other"}, "JobQueue other not found"),
    ("DeleteComputeEnvironment", {"computeEnvironment": "small"}, "DISABLED"),
    ("DescribeJobs", {"jobs": ["any"] * 101}, "Maximum number of jobs supported is  100"),
    ("ListJobs", {}, "Exactly one of jobQueue, arrayJobId, multiNodeJobId"),
    ("ListJobs", {"jobQueue": "normal", "arrayJobId": "any"}, "Exactly one of"),
    ("ListJobs", {"jobQueue": "other"}, "JobQueue other not found"),
    ("ListJobs", {"jobQueue": "normal", "nextToken": "other"}, "Invalid nextToken"),
    ("ListJobs", {"jobQueue": "normal", "maxResults": -1}, "maxResults"),
    ("ListJobs", {"jobQueue": "normal", "filters": [{"name": "COLOUR", "values": ["red"]}]}, "JOB_NAME"),
    ("ListJobs", {"jobQueue": "normal", "filters": [{"name": "JOB_NAME", "values": ["a"]}] * 2}, "Only one"),
    (
        "ListJobs",
        {"jobQueue": "normal", "filters": [{"name": "AFTER_CREATED_AT", "values": ["today"]}]},
        "milliseconds since 1970",
    ),
    ("TerminateJob", {"jobId": "any", "reason": ""}, "'reason' is a required field"),
    ("CancelJob", {"jobId": "", "reason": "any"}, "'jobId' is a required field"),
]
BASE: dict[str, dict[str, Any]] = {
    "CreateComputeEnvironment": {
        "computeEnvironmentName": "new",
        "type": "MANAGED",
        "computeResources": RESOURCES,
    },
    "CreateJobQueue": {
        "jobQueueName": "new",
        "priority": 1,
        "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "small"}],
    },
}


@pytest.mark.bad_input(74)
@pytest.mark.parametrize(("operation", "given", "message"), QUEUES)
def test_queues_and_questions(batch: Batch, operation: str, given: dict[str, Any], message: str) -> None:
    batch.environment("serverless", kind="FARGATE")
    asked = {**BASE.get(operation, {}), **given}
    with pytest.raises(Refused, match=message) as refused:
        batch(operation, **{key: value for key, value in asked.items() if value is not None})

    assert refused.value.args[0] == "ClientException"
    assert len(batch("DescribeComputeEnvironments")["computeEnvironments"]) == 2
    assert len(batch("DescribeJobQueues")["jobQueues"]) == 1


def test_unknown_jobs_are_left_out_and_ending_them_is_no_error(batch: Batch) -> None:
    assert batch("DescribeJobs", jobs=["a" * 32])["jobs"] == []
    batch("TerminateJob", jobId="a" * 32, reason="any")
    batch("CancelJob", jobId="a" * 32, reason="any")


def test_ending_a_job_that_has_ended_changes_nothing(batch: Batch, agent: Agent) -> None:
    job = batch.submit()
    agent.end(agent.take()[0])
    before = batch.job(job)
    batch("TerminateJob", jobId=job, reason="too late")

    assert batch.job(job) == before
