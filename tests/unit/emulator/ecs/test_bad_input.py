"""What ECS refuses, with which code and words; and that nothing is half-started then."""

from typing import Any

import pytest

from windtunnel_emulator.containers.work import WorkQueue

from ..calls import Call
from .requests import IMAGE, NETWORK, container, definition, on_ec2, task

CLIENT, PARAMETER = "ClientException", "InvalidParameterException"
PREFIX = "arn:aws:ecs:ap-southeast-2:000000000000"


def overrides(**more: Any) -> dict[str, Any]:
    return {"containerOverrides": [{"name": "main", **more}]}


RUN: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown cluster": (task(cluster="none"), "ClusterNotFoundException", "Cluster not found."),
    "unknown family": (task(taskDefinition="none"), CLIENT, "TaskDefinition not found."),
    "unknown revision": (task(taskDefinition="report:9"), CLIENT, "TaskDefinition not found."),
    "revision that is no number": (
        task(taskDefinition="report:x"),
        PARAMETER,
        "Invalid revision number. Number: x",
    ),
    "inactive revision": (task(taskDefinition="old:1"), CLIENT, "TaskDefinition is inactive"),
    "family without an active revision": (task(taskDefinition="old"), CLIENT, "TaskDefinition not found."),
    "no task": (task(count=-1), PARAMETER, "count must be between 1 and 10."),
    "11 tasks": (task(count=11), PARAMETER, "count must be between 1 and 10."),
    "cpu and memory that do not fit": (
        task(overrides={"cpu": "256", "memory": "8192"}),
        CLIENT,
        "No Fargate configuration exists for given values: 256 CPU, 8192 memory.",
    ),
    "cpu that is none": (task(overrides={"cpu": "much"}), CLIENT, "Invalid 'cpu' setting for task."),
    "overrides over 8192 characters": (
        task(overrides=overrides(environment=[{"name": "A", "value": "x" * 8192}])),
        PARAMETER,
        "Container Overrides length must be at most 8192",
    ),
    "container that is not in the definition": (
        task(overrides={"containerOverrides": [{"name": "other"}]}),
        PARAMETER,
        "Override for container named other is not a container in the TaskDefinition.",
    ),
    "container with more memory than the task": (
        task(overrides=overrides(memory=4096)),
        PARAMETER,
        "'memory' setting for container 'main' is greater than for task.",
    ),
    "container with more cpu than the task": (
        task(overrides=overrides(cpu=2048)),
        PARAMETER,
        "'cpu' setting for container 'main' is greater than for task.",
    ),
    "no network configuration": (
        task(networkConfiguration=None),
        PARAMETER,
        "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
    ),
    "no subnets": (
        task(networkConfiguration={"awsvpcConfiguration": {"subnets": []}}),
        PARAMETER,
        "subnets can not be empty.",
    ),
    "network configuration without awsvpc": (
        task(taskDefinition="small", launchType="EC2"),
        PARAMETER,
        "Network Configuration is not valid for the given networkMode of this task definition.",
    ),
    "launch type that the definition does not support": (
        task(taskDefinition="small", networkConfiguration=None),
        PARAMETER,
        "Task definition does not support launch_type FARGATE.",
    ),
    "EC2 without instances": (
        task(taskDefinition="small", networkConfiguration=None, launchType=None),
        PARAMETER,
        "No Container Instances were found in your cluster.",
    ),
    "external instances": (
        task(launchType="EXTERNAL"),
        PARAMETER,
        "No Container Instances were found in your cluster.",
    ),
    "launch type and strategy": (
        task(capacityProviderStrategy=[{"capacityProvider": "FARGATE"}]),
        PARAMETER,
        "Specifying both a launch type and capacity provider strategy is not supported. "
        "Remove one and try again.",
    ),
    "unknown capacity provider": (
        task(launchType=None, capacityProviderStrategy=[{"capacityProvider": "none"}]),
        PARAMETER,
        "The specified capacity provider was not found. Specify a valid name or ARN and try again.",
    ),
    "capacity provider of another cluster": (
        task(launchType=None, capacityProviderStrategy=[{"capacityProvider": "FARGATE_SPOT"}]),
        PARAMETER,
        "The capacity provider FARGATE_SPOT is not associated with the cluster airflow. "
        "Associate it by PutClusterCapacityProviders and try again.",
    ),
    "a starter with a long name": (
        task(startedBy="x" * 129),
        PARAMETER,
        "startedBy must be at most 128 characters long.",
    ),
}


@pytest.mark.bad_input(69)
@pytest.mark.parametrize(("request_", "code", "message"), RUN.values(), ids=RUN)
def test_a_task_that_cannot_run_is_refused_and_none_begins(
    ecs: Call, queue: WorkQueue, request_: dict[str, Any], code: str, message: str
) -> None:
    ecs("RegisterTaskDefinition", **on_ec2())
    ecs("RegisterTaskDefinition", **definition(family="old"))
    ecs("DeregisterTaskDefinition", taskDefinition="old:1")

    status, answer = ecs("RunTask", **request_)

    assert (status, answer["__type"], answer["message"]) == (400, code, message)
    assert queue.poll("agent", ["*"], set(), timeout=0) == ([], [])


def waits(name: str, other: str, condition: str = "START", **more: Any) -> dict[str, Any]:
    return container(name, dependsOn=[{"containerName": other, "condition": condition}], **more)


CHECK = {"command": ["CMD-SHELL", "true"]}
DEFINITIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no container": ({**definition(), "containerDefinitions": []}, "Container list cannot be empty."),
    "no name": (definition({"image": IMAGE}), "Container.name should not be null or empty."),
    "no image": (definition({"name": "main"}), "Container.image should not be null or empty."),
    "a name twice": (
        definition(container(), container()),
        "Container name main is used more than once. Container names must be unique.",
    ),
    "none essential": (
        definition(container(essential=False)),
        "At least one container must be marked as essential.",
    ),
    "dependsOn of an unknown container": (
        definition(waits("main", "other")),
        "Container 'main' has a dependency on container 'other', which does not exist.",
    ),
    "dependsOn in a circle": (
        definition(waits("main", "other"), waits("other", "main")),
        "Cyclic dependency detected in the container dependencies.",
    ),
    "dependsOn itself": (
        definition(waits("main", "main")),
        "Cyclic dependency detected in the container dependencies.",
    ),
    "wait for the end of an essential container": (
        definition(waits("main", "other", "SUCCESS"), container("other")),
        "Container 'main' waits for SUCCESS of container 'other', which must not be essential.",
    ),
    "wait for health that nobody checks": (
        definition(waits("main", "other", "HEALTHY"), container("other")),
        "Container 'main' waits for container 'other' to be HEALTHY; it has no healthCheck.",
    ),
    "health check without its kind": (
        definition(container(healthCheck={"command": ["true"]})),
        "Container 'main': healthCheck.command must begin with CMD, CMD-SHELL or NONE.",
    ),
    "health check each second": (
        definition(container(healthCheck={**CHECK, "interval": 1})),
        "Container 'main': healthCheck.interval must be between 5 and 300.",
    ),
    "size that Fargate does not have": (
        definition(cpu="256", memory="4096"),
        "No Fargate configuration exists for given values: 256 CPU, 4096 memory.",
    ),
    "no cpu on Fargate": (definition(cpu=None), "Fargate requires that 'cpu' be defined at the task level."),
    "no memory on Fargate": (
        definition(memory=None),
        "Fargate requires that 'memory' be defined at the task level.",
    ),
    "memory that is none": (definition(memory="much"), "Invalid 'memory' setting for task."),
    "container with more memory than the task": (
        definition(container(memory=4096)),
        "'memory' setting for container 'main' is greater than for task.",
    ),
    "bridge on Fargate": (
        definition(networkMode="bridge"),
        "Fargate only supports network mode 'awsvpc', not 'bridge'.",
    ),
    "no execution role with awslogs on Fargate": (
        definition(executionRoleArn=None),
        "Fargate requires task definition to have execution role ARN to support log driver awslogs.",
    ),
    "no execution role with secrets": (
        on_ec2(container(memory=64, secrets=[{"name": "A", "valueFrom": "a"}]), executionRoleArn=None),
        "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
    ),
    "awslogs without a group": (
        definition(container(logConfiguration={"logDriver": "awslogs", "options": {}})),
        "Log driver awslogs requires options: awslogs-group, awslogs-region",
    ),
    "a stop of more than two minutes on Fargate": (
        definition(container(stopTimeout=121)),
        "The stopTimeout of container 'main' must be at most 120 seconds on Fargate.",
    ),
    "no memory on EC2": (
        on_ec2(container()),
        "Invalid setting for container 'main'. "
        "At least one of 'memory' or 'memoryReservation' must be specified.",
    ),
}


@pytest.mark.bad_input(70)
@pytest.mark.parametrize(("request_", "message"), DEFINITIONS.values(), ids=DEFINITIONS)
def test_a_definition_that_cannot_run_is_refused_and_not_registered(
    ecs: Call, request_: dict[str, Any], message: str
) -> None:
    before = ecs("ListTaskDefinitions")

    status, answer = ecs("RegisterTaskDefinition", **request_)

    assert (status, answer["__type"], answer["message"]) == (400, CLIENT, message)
    assert ecs("ListTaskDefinitions") == before


UNKNOWN = (
    "The specified task definition does not exist. Specify a valid account, family, revision and try again."
)
OTHERS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "stop of an unknown task": (
        "StopTask",
        {"cluster": "airflow", "task": "none"},
        PARAMETER,
        "The referenced task was not found.",
    ),
    "101 tasks": (
        "DescribeTasks",
        {"cluster": "airflow", "tasks": ["a"] * 101},
        PARAMETER,
        "Tasks cannot have more than 100 elements.",
    ),
    "no task": ("DescribeTasks", {"cluster": "airflow", "tasks": []}, PARAMETER, "Tasks cannot be empty."),
    "a page of 101": (
        "ListTasks",
        {"cluster": "airflow", "maxResults": 101},
        PARAMETER,
        "maxResults must be between 1 and 100.",
    ),
    "a token of nothing": (
        "ListTasks",
        {"cluster": "airflow", "nextToken": "x"},
        PARAMETER,
        "Invalid token.",
    ),
    "unknown definition": (
        "DescribeTaskDefinition",
        {"taskDefinition": "none"},
        CLIENT,
        "Unable to describe task definition.",
    ),
    "deregistering a family": (
        "DeregisterTaskDefinition",
        {"taskDefinition": "report"},
        CLIENT,
        "Revision is missing.",
    ),
    "deregistering an unknown revision": (
        "DeregisterTaskDefinition",
        {"taskDefinition": "report:9"},
        CLIENT,
        UNKNOWN,
    ),
    "deleting 11 revisions": (
        "DeleteTaskDefinitions",
        {"taskDefinitions": ["a:1"] * 11},
        PARAMETER,
        "Size of TaskDefinition references list cannot exceed 10",
    ),
    "unknown cluster": (
        "DeleteCluster",
        {"cluster": "none"},
        "ClusterNotFoundException",
        "Cluster not found.",
    ),
    "a cluster with an unknown provider": (
        "CreateCluster",
        {"clusterName": "it", "capacityProviders": ["none"]},
        PARAMETER,
        "The specified capacity provider was not found. Specify a valid name or ARN and try again.",
    ),
    "no instance": (
        "DescribeContainerInstances",
        {"cluster": "airflow", "containerInstances": []},
        PARAMETER,
        "Container instances cannot be empty.",
    ),
    "start of an unknown definition": (
        "StartTask",
        {"cluster": "airflow", "taskDefinition": "none", "containerInstances": ["a"]},
        CLIENT,
        "TaskDefinition not found.",
    ),
    "start on no instance": (
        "StartTask",
        {
            "cluster": "airflow",
            "taskDefinition": "report",
            "containerInstances": [],
            "networkConfiguration": NETWORK,
        },
        PARAMETER,
        "Container instances must be between 1 and 10.",
    ),
}


@pytest.mark.bad_input(71)
@pytest.mark.parametrize(("operation", "request_", "code", "message"), OTHERS.values(), ids=OTHERS)
def test_what_makes_no_sense_is_refused(
    ecs: Call, operation: str, request_: dict[str, Any], code: str, message: str
) -> None:
    status, answer = ecs(operation, **request_)

    assert (status, answer["__type"], answer["message"]) == (400, code, message)


def test_tasks_and_instances_that_nobody_knows_are_failures(ecs: Call) -> None:
    _, tasks = ecs("DescribeTasks", cluster="airflow", tasks=["a", f"{PREFIX}:task/airflow/b"])
    _, found = ecs("DescribeContainerInstances", cluster="airflow", containerInstances=["a"])

    assert tasks == {
        "tasks": [],
        "failures": [
            {"arn": f"{PREFIX}:task/airflow/a", "reason": "MISSING"},
            {"arn": f"{PREFIX}:task/airflow/b", "reason": "MISSING"},
        ],
    }
    assert found["failures"] == [{"arn": f"{PREFIX}:container-instance/airflow/a", "reason": "MISSING"}]


def test_a_stopped_task_can_be_stopped_and_stays_as_it_is(ecs: Call) -> None:
    _, ran = ecs("RunTask", **task())
    arn = ran["tasks"][0]["taskArn"]
    _, first = ecs("StopTask", cluster="airflow", task=arn, reason="enough")
    _, second = ecs("StopTask", cluster="airflow", task=arn, reason="again")

    assert first["task"] == second["task"]
    assert second["task"]["stoppedReason"] == "enough"
