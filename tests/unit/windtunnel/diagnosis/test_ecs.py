from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from windtunnel.diagnosis import ecs
from windtunnel.diagnosis.containers import Stream, clock

from ..stand_ins import aws
from .test_containers import workload

ARN = "arn:aws:ecs:ap-southeast-2:000000000000:"
NOW = datetime.now(UTC)
LOGS = {
    "logDriver": "awslogs",
    "options": {"awslogs-group": "/ecs/airflow", "awslogs-stream-prefix": "airflow"},
}


def task(number: int, status: str = "RUNNING", exit_code: int | None = None, **values: Any) -> dict[str, Any]:
    container = {"name": "airflow"} | ({} if exit_code is None else {"exitCode": exit_code})
    times = {"createdAt": NOW + timedelta(seconds=number)}
    if status == "STOPPED":
        times["stoppedAt"] = NOW + timedelta(seconds=number)
    described = {
        "taskArn": f"{ARN}task/airflow/{number}",
        "taskDefinitionArn": f"{ARN}task-definition/airflow:1",
        "lastStatus": status,
        "containers": [container],
    }
    return {**described, **times, **values}


def client(
    running: Sequence[dict[str, Any]] = (),
    stopped: Sequence[dict[str, Any]] = (),
    *,
    pending: int = 0,
    instances: int = 0,
    logs: Any = LOGS,
) -> Any:
    """A client of an ECS with one cluster; the tasks are listed in pages of a hundred."""
    described = {one["taskArn"]: one for one in (*running, *stopped)}
    listed = {"RUNNING": list(running), "STOPPED": list(stopped)}

    def list_tasks(asked: Any) -> dict[str, Any]:
        begin = int(asked.get("nextToken", 0))
        arns = [one["taskArn"] for one in listed[asked["desiredStatus"]]]
        token = {"nextToken": str(begin + 100)} if len(arns) > begin + 100 else {}
        return {"taskArns": arns[begin : begin + 100], **token}

    cluster = {
        "clusterName": "airflow",
        "status": "ACTIVE",
        "runningTasksCount": len(running),
        "pendingTasksCount": pending,
        "registeredContainerInstancesCount": instances,
    }

    def describe_task_definition(asked: Any) -> dict[str, Any]:
        containers = [{"name": "airflow", **({"logConfiguration": logs} if logs else {})}]
        arn = asked["taskDefinition"]
        return {"taskDefinition": {"taskDefinitionArn": arn, "containerDefinitions": containers}}

    return aws.client(
        "ecs",
        ListClusters={"clusterArns": [f"{ARN}cluster/airflow"]},
        DescribeClusters={"clusters": [cluster]},
        ListTasks=list_tasks,
        DescribeTasks=lambda asked: {"tasks": [described[arn] for arn in asked["tasks"]]},
        ListContainerInstances={"containerInstanceArns": ["one"] * instances},
        DescribeContainerInstances={"containerInstances": [{"ec2InstanceId": "i-1"}]},
        ListTaskDefinitions={"taskDefinitionArns": [f"{ARN}task-definition/airflow:2"]},
        DescribeTaskDefinition=describe_task_definition,
    )


def test_without_clusters_nothing_is_said() -> None:
    assert list(ecs.rows(aws.client("ecs", ListClusters={"clusterArns": []}))) == []


def test_a_cluster_says_what_it_has() -> None:
    found = list(ecs.rows(client(pending=1, instances=1)))

    assert found == [("airflow", "ACTIVE", "0 running, 1 pending, 0 stopped; 1 container instance")]


@pytest.mark.parametrize(
    ("values", "owner"),
    [
        ({"overrides": {"containerOverrides": [{"command": [workload()]}]}}, ": mine.count, try 2"),
        ({"startedBy": "somebody"}, ": started by somebody"),
        ({}, ""),
    ],
)
def test_a_task_at_work_says_since_when_and_whose_it_is(values: dict[str, Any], owner: str) -> None:
    _, row = ecs.rows(client([task(1, startedAt=NOW, **values)]))

    assert row == ("  airflow:1", "RUNNING", f"since {clock(NOW)}{owner}")


def test_a_task_that_failed_says_why() -> None:
    stopped = [task(1, "STOPPED", 0), task(2, "STOPPED", 1, stoppedReason="Essential container exited")]

    (_, _, summary), *rows = ecs.rows(client(stopped=stopped))

    assert summary == "0 running, 0 pending, 2 stopped, 1 of them failed"
    assert rows == [
        (
            "  airflow:1",
            "failed",
            f"{clock(NOW + timedelta(seconds=2))}: Essential container exited, exit code 1",
        )
    ]


def test_a_task_that_never_began_has_failed() -> None:
    (_, row) = ecs.rows(client(stopped=[task(1, "STOPPED", stoppedReason="CannotPullContainerError: no")]))

    assert row[2].endswith(": CannotPullContainerError: no")


def test_a_task_that_is_to_stop_is_still_at_work() -> None:
    (_, _, summary), row = ecs.rows(client(stopped=[task(1, "RUNNING", startedAt=NOW)]))

    assert "0 stopped" in summary
    assert row[1] == "RUNNING"


def test_of_many_tasks_the_oldest_at_work_and_the_last_that_failed_are_listed() -> None:
    running = [task(number, startedAt=NOW) for number in range(25)]
    stopped = [task(100 + number, "STOPPED", number) for number in range(1200)]
    asked = client(running, stopped)

    (_, _, summary), *rows = ecs.rows(asked)

    assert summary == "25 running, 0 pending, 1,200 stopped, 200 of the last 200 failed"
    assert [row[1] for row in rows] == ["RUNNING"] * 10 + [""] + ["failed"] * 5
    assert rows[10][0] == "  and 15 more"
    assert [row[2].rpartition(" ")[2] for row in rows[11:]] == ["1199", "1198", "1197", "1196", "1195"]
    assert len([name for name, _ in asked.asked if name == "DescribeTasks"]) == 3


@pytest.mark.parametrize(
    ("held", "number"),
    [(client(), None), (client(pending=2), 2), (client([task(1)]), 0), (client(stopped=[task(1)]), 0)],
)
def test_how_many_wait_is_known_if_there_are_tasks_at_all(held: Any, number: int | None) -> None:
    assert ecs.waiting(held) == number


def test_the_bundle_has_the_latest_tasks_and_every_definition_that_they_have() -> None:
    found = ecs.held(client([task(1)], [task(number, "STOPPED", 0) for number in range(2, 203)], instances=1))

    assert len(found["tasks"]) == 101
    assert found["tasks"][-1]["taskArn"].endswith("/202")
    arns = [one["taskDefinitionArn"].rpartition("/")[2] for one in found["taskDefinitions"]]
    assert arns == ["airflow:2", "airflow:1"]
    assert found["containerInstances"] == [{"ec2InstanceId": "i-1"}]


def test_output_is_of_tasks_that_run_or_have_failed_the_latest_first() -> None:
    held = ecs.held(client([task(1)], [task(2, "STOPPED", 0), task(3, "STOPPED", 1), task(4, "STOPPED")]))

    assert list(ecs.streams(held)) == [Stream("/ecs/airflow", f"airflow/airflow/{id}") for id in (4, 3, 1)]


@pytest.mark.parametrize("logs", [None, {"logDriver": "syslog", "options": {"syslog-address": "a"}}])
def test_there_is_no_output_without_awslogs(logs: Any) -> None:
    assert list(ecs.streams(ecs.held(client([task(1)], logs=logs)))) == []
