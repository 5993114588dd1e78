"""Clusters, their instances and capacity providers; where tasks are placed."""

import time
from typing import Any

import pytest

from windtunnel_emulator.containers import work
from windtunnel_emulator.containers.work import WorkQueue
from windtunnel_emulator.ecs.clusters import spread

from ..calls import Call
from .conftest import StandInAgent
from .requests import IMAGE, INSTANCE, NETWORK, container, definition, on_ec2, task, task_on_ec2

PROVIDER = {"autoScalingGroupProvider": {"autoScalingGroupArn": "arn:aws:autoscaling:it"}}


@pytest.fixture
def instance(ecs: Call, agent: StandInAgent) -> str:
    """The ARN of an instance with 2 processors and 1 GiB."""
    ecs("RegisterTaskDefinition", **on_ec2())
    agent.poll(INSTANCE)
    arn: str = ecs("ListContainerInstances", cluster="airflow")[1]["containerInstanceArns"][0]
    return arn


def left(ecs: Call, instance: str) -> dict[str, int]:
    _, answer = ecs("DescribeContainerInstances", cluster="airflow", containerInstances=[instance])
    found = answer["containerInstances"][0]
    return {one["name"]: one["integerValue"] for one in found["remainingResources"]}


def test_an_agent_is_an_instance_of_the_cluster_that_it_names(ecs: Call, instance: str) -> None:
    _, answer = ecs("DescribeContainerInstances", cluster="airflow", containerInstances=[instance])
    found = answer["containerInstances"][0]

    assert instance.startswith("arn:aws:ecs:ap-southeast-2:000000000000:container-instance/airflow/")
    assert (found["status"], found["agentConnected"]) == ("ACTIVE", True)
    assert {one["name"]: one["integerValue"] for one in found["registeredResources"]} == {
        "CPU": 2048,
        "MEMORY": 1024,
    }
    ecs("CreateCluster", clusterName="other")
    assert ecs("ListContainerInstances", cluster="other")[1]["containerInstanceArns"] == []
    assert (
        ecs("DescribeClusters", clusters=["airflow"])[1]["clusters"][0]["registeredContainerInstancesCount"]
        == 1
    )


def test_a_task_is_placed_where_its_image_runs(ecs: Call, queue: WorkQueue, instance: str) -> None:
    queue.poll("any", ["*", f"!{IMAGE}"], set(), timeout=0, instance=INSTANCE)
    foreign_image = container(image="python:3", memory=512, cpu=100)
    ecs("RegisterTaskDefinition", **on_ec2(foreign_image, family="other"))

    (own,) = ecs("RunTask", **task_on_ec2())[1]["tasks"]
    (foreign,) = ecs("RunTask", **task_on_ec2(taskDefinition="other"))[1]["tasks"]
    assert own["containerInstanceArn"] == instance
    assert foreign["containerInstanceArn"] != instance


def test_a_task_takes_room_until_it_has_stopped(ecs: Call, agent: StandInAgent, instance: str) -> None:
    _, ran = ecs("RunTask", **task_on_ec2())
    found = ran["tasks"][0]

    assert (found["launchType"], found["containerInstanceArn"]) == ("EC2", instance)
    assert found["lastStatus"] == "PENDING"
    assert left(ecs, instance) == {"CPU": 1948, "MEMORY": 512}
    assert [one.place for one in agent.poll(INSTANCE)] == ["agent"]
    listed = ecs("ListTasks", cluster="airflow", containerInstance=instance)[1]["taskArns"]
    assert listed == [found["taskArn"]]
    agent.report(found["taskArn"], "STOPPED")
    assert left(ecs, instance) == {"CPU": 2048, "MEMORY": 1024}


@pytest.mark.parametrize(
    ("lacking", "more"), [("MEMORY", {"memory": 1025}), ("CPU", {"memory": 8, "cpu": 2049})]
)
def test_a_task_for_which_there_is_no_room_is_a_failure(
    ecs: Call, instance: str, lacking: str, more: dict[str, Any]
) -> None:
    ecs("RegisterTaskDefinition", **on_ec2(container(**more)))
    status, answer = ecs("RunTask", **task_on_ec2())

    assert (status, answer["tasks"]) == (200, [])
    assert answer["failures"] == [{"arn": instance, "reason": f"RESOURCE:{lacking}"}]


def test_of_several_tasks_those_run_for_which_there_is_room(ecs: Call, instance: str) -> None:
    _, answer = ecs("RunTask", **task_on_ec2(count=3))

    assert len(answer["tasks"]) == 2
    assert [one["reason"] for one in answer["failures"]] == ["RESOURCE:MEMORY"]


def test_what_is_reserved_counts_and_not_the_limit(ecs: Call, instance: str) -> None:
    ecs("RegisterTaskDefinition", **on_ec2(container(memory=4096, memoryReservation=128)))
    override = {"name": "main", "memoryReservation": 256}
    ecs("RunTask", **task_on_ec2(overrides={"containerOverrides": [override]}))

    assert left(ecs, instance)["MEMORY"] == 768


def test_a_task_is_started_where_the_caller_says(ecs: Call, instance: str) -> None:
    asked = {"cluster": "airflow", "taskDefinition": "small", "containerInstances": [instance, "none"]}
    _, answer = ecs("StartTask", **asked)

    assert answer["tasks"][0]["containerInstanceArn"] == instance
    assert answer["failures"] == [{"arn": "none", "reason": "MISSING"}]


def test_clusters_are_made_once_and_deleted_when_empty(ecs: Call, agent: StandInAgent) -> None:
    _, first = ecs("CreateCluster", clusterName="own", tags=[{"key": "a", "value": "b"}])
    _, second = ecs("CreateCluster", clusterName="own")
    _, ran = ecs("RunTask", **task(cluster="own"))
    assert second["cluster"]["clusterArn"] == first["cluster"]["clusterArn"]
    assert ecs("DescribeClusters", clusters=["own"])[1]["clusters"][0]["pendingTasksCount"] == 1

    status, answer = ecs("DeleteCluster", cluster="own")
    assert (status, answer["__type"]) == (400, "ClusterContainsTasksException")
    ecs("StopTask", cluster="own", task=ran["tasks"][0]["taskArn"])
    agent.poll({**INSTANCE, "cluster": "own"})
    assert ecs("DeleteCluster", cluster="own")[1]["__type"] == "ClusterContainsContainerInstancesException"
    agent.poll()
    _, gone = ecs("DeleteCluster", cluster="own")
    assert gone["cluster"]["status"] == "INACTIVE"
    assert [arn.rpartition("/")[2] for arn in ecs("ListClusters")[1]["clusterArns"]] == ["airflow"]
    assert ecs("RunTask", **task(cluster="own"))[1]["__type"] == "ClusterNotFoundException"
    assert ecs("CreateCluster", clusterName="own")[1]["cluster"]["status"] == "ACTIVE"


def test_a_cluster_without_a_name_is_the_default_one(ecs: Call) -> None:
    ecs("CreateCluster")

    assert ecs("RunTask", **task(cluster=None))[1]["tasks"][0]["clusterArn"].endswith(":cluster/default")


def test_a_strategy_chooses_among_the_clusters_providers(ecs: Call) -> None:
    ecs("CreateCluster", clusterName="spot", capacityProviders=["FARGATE", "FARGATE_SPOT"])
    strategy = [
        {"capacityProvider": "FARGATE", "base": 1, "weight": 1},
        {"capacityProvider": "FARGATE_SPOT", "weight": 3},
    ]
    asked = task(cluster="spot", launchType=None, capacityProviderStrategy=strategy, count=5)
    _, answer = ecs("RunTask", **asked)

    chosen = [one["capacityProviderName"] for one in answer["tasks"]]
    assert (chosen.count("FARGATE"), chosen.count("FARGATE_SPOT")) == (2, 3)
    assert {one["launchType"] for one in answer["tasks"]} == {"FARGATE"}


def test_a_cluster_has_a_strategy_for_those_who_name_none(ecs: Call, instance: str) -> None:
    ecs("CreateCapacityProvider", name="own", **PROVIDER)
    strategy = [{"capacityProvider": "own"}]
    put = {"cluster": "airflow", "capacityProviders": ["own"], "defaultCapacityProviderStrategy": strategy}
    assert ecs("PutClusterCapacityProviders", **put)[0] == 200
    _, answer = ecs("RunTask", **task_on_ec2(launchType=None))

    found = answer["tasks"][0]
    assert (found["launchType"], found["capacityProviderName"]) == ("EC2", "own")
    assert "capacityProviderName" not in ecs("RunTask", **task())[1]["tasks"][0]


@pytest.fixture
def on_provider(ecs: Call, instance: str) -> dict[str, Any]:
    """What to ask of ``RunTask`` for a task of 512 MiB on a provider with managed scaling."""
    group = {**PROVIDER["autoScalingGroupProvider"], "managedScaling": {"status": "ENABLED"}}
    ecs("CreateCapacityProvider", name="own", autoScalingGroupProvider=group)
    put = {"cluster": "airflow", "capacityProviders": ["own"], "defaultCapacityProviderStrategy": []}
    assert ecs("PutClusterCapacityProviders", **put)[0] == 200
    return task_on_ec2(launchType=None, capacityProviderStrategy=[{"capacityProvider": "own"}])


def test_behind_managed_scaling_tasks_wait_for_room(
    ecs: Call, agent: StandInAgent, instance: str, on_provider: dict[str, Any]
) -> None:
    _, answer = ecs("RunTask", **on_provider, count=3)
    arns = [one["taskArn"] for one in answer["tasks"]]

    def where() -> list[tuple[str, str | None]]:
        _, found = ecs("DescribeTasks", cluster="airflow", tasks=arns)
        return [(one["lastStatus"], one.get("containerInstanceArn")) for one in found["tasks"]]

    assert (len(arns), answer["failures"]) == (3, [])
    assert where() == [("PROVISIONING", None)] * 3
    first, second = agent.poll(INSTANCE)
    assert where() == [("PENDING", instance), ("PENDING", instance), ("PROVISIONING", None)]
    assert left(ecs, instance) == {"CPU": 1848, "MEMORY": 0}
    assert agent.poll(INSTANCE, held=(first.id, second.id)) == []
    agent.report(arns[0], "STOPPED")
    assert [one.id for one in agent.poll(INSTANCE, held=(second.id,))] == [arns[2].rpartition("/")[2]]
    assert where()[2] == ("PENDING", instance)


def test_only_the_clusters_own_instances_give_room(
    ecs: Call, agent: StandInAgent, queue: WorkQueue, on_provider: dict[str, Any]
) -> None:
    ecs("RunTask", **on_provider)

    elsewhere = {**INSTANCE, "cluster": "other"}
    assert queue.poll("another", [IMAGE], set(), timeout=0, instance=elsewhere) == ([], [])
    assert queue.poll("none", [IMAGE], set(), timeout=0) == ([], [])
    assert len(agent.poll(INSTANCE)) == 1


def test_what_no_instance_could_ever_hold_fails(
    ecs: Call, instance: str, on_provider: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ecs("RegisterTaskDefinition", **on_ec2(container(memory=1025)))
    _, answer = ecs("RunTask", **on_provider)
    (started,) = answer["tasks"]
    assert started["lastStatus"] == "PROVISIONING"

    later = time.time() + 2 * work.GRACE + 1
    monkeypatch.setattr("time.time", lambda: later)
    _, found = ecs("DescribeTasks", cluster="airflow", tasks=[started["taskArn"]])
    (failed,) = found["tasks"]
    assert (failed["lastStatus"], failed["stopCode"]) == ("STOPPED", "TaskFailedToStart")
    assert failed["stoppedReason"] == (
        "EMPTY CAPACITY PROVIDER: no instance of the cluster airflow has 0 CPU units and 1025 MiB of memory"
    )


def test_without_managed_scaling_a_task_without_room_is_a_failure(ecs: Call, instance: str) -> None:
    ecs("CreateCapacityProvider", name="own", **PROVIDER)
    strategy = [{"capacityProvider": "own"}]
    ecs(
        "PutClusterCapacityProviders",
        cluster="airflow",
        capacityProviders=["own"],
        defaultCapacityProviderStrategy=strategy,
    )
    _, answer = ecs("RunTask", **task_on_ec2(launchType=None), count=3)

    assert [one["reason"] for one in answer["failures"]] == ["RESOURCE:MEMORY"]


def test_aws_has_two_capacity_providers_of_its_own(ecs: Call) -> None:
    ecs("CreateCapacityProvider", name="own", **PROVIDER)

    def described(*names: str) -> list[str]:
        _, answer = ecs("DescribeCapacityProviders", **({"capacityProviders": names} if names else {}))
        return [one["name"] for one in answer["capacityProviders"]]

    assert described() == ["FARGATE", "FARGATE_SPOT", "own"]
    assert described("FARGATE_SPOT") == ["FARGATE_SPOT"]
    assert described("own") == ["own"]
    _, answer = ecs("DescribeCapacityProviders", capacityProviders=["none"])
    assert [one["reason"] for one in answer["failures"]] == ["MISSING"]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ([("a", 0, 1)], "aaaa"),
        ([("a", 2, 0), ("b", 0, 1)], "aabb"),
        ([("a", 0, 1), ("b", 0, 3)], "abbb"),
        ([("a", 9, 1)], "aaaa"),
        ([("a", 0, 0)], "aaaa"),
    ],
)
def test_base_comes_first_and_then_the_weights(strategy: list[Any], expected: str) -> None:
    named = [{"capacityProvider": name, "base": base, "weight": weight} for name, base, weight in strategy]

    assert "".join(sorted(spread(named, 4))) == expected


def test_a_definition_for_fargate_runs_on_an_instance_as_well(ecs: Call, instance: str) -> None:
    ecs("RegisterTaskDefinition", **definition(cpu="256", memory="512", family="both"))
    _, answer = ecs("RunTask", **task_on_ec2(taskDefinition="both", networkConfiguration=NETWORK))

    assert answer["tasks"][0]["launchType"] == "EC2"
    assert "platformVersion" not in answer["tasks"][0]
    assert left(ecs, instance) == {"CPU": 1792, "MEMORY": 512}
