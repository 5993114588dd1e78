"""Tasks: from RunTask to STOPPED, with the times, codes and reasons that AWS gives."""

from typing import Any

import pytest

from windtunnel_emulator.containers.work import WorkQueue
from windtunnel_emulator.ecs import running

from ..calls import Call
from .conftest import StandInAgent
from .requests import IMAGE, LOGS, container, definition, task


def run(ecs: Call, **more: Any) -> str:
    status, answer = ecs("RunTask", **task(**more))
    assert (status, answer["failures"]) == (200, []), answer
    arn: str = answer["tasks"][0]["taskArn"]
    return arn


def describe(ecs: Call, arn: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = ecs("DescribeTasks", cluster="airflow", tasks=[arn], **more)[1]["tasks"][0]
    return found


def test_a_task_goes_through_its_states(ecs: Call, agent: StandInAgent) -> None:
    arn = run(ecs)
    seen = [describe(ecs, arn)]
    agent.poll()
    for at, status in enumerate(("PENDING", "RUNNING", "STOPPING", "DEPROVISIONING"), 1):
        times = {"pull_started": 10.0, "pull_stopped": 11.0, "started": 12.0, "stopping": 13.0}
        agent.report(arn, status, at=at, **(times if status == "DEPROVISIONING" else {}))
        seen.append(describe(ecs, arn))
    end = {"code": "EssentialContainerExited", "reason": "Essential container in task exited"}
    containers = {"main": {"status": "STOPPED", "exit_code": 3, "id": "it"}}
    agent.report(arn, "STOPPED", at=9, containers=containers, execution_stopped=14.0, stopped=15.0, **end)
    last = describe(ecs, arn)

    statuses = [one["lastStatus"] for one in seen]
    assert statuses == ["PROVISIONING", "PENDING", "RUNNING", "STOPPING", "DEPROVISIONING"]
    assert [one["version"] for one in seen] == [1, 1, 2, 3, 4]
    assert seen[1]["desiredStatus"] == "RUNNING"
    assert seen[4]["pullStartedAt"] == 10
    assert seen[4]["startedAt"] == 12
    assert (last["lastStatus"], last["desiredStatus"]) == ("STOPPED", "STOPPED")
    assert (last["stopCode"], last["stoppedReason"]) == tuple(end.values())
    assert (last["executionStoppedAt"], last["stoppedAt"]) == (14, 15)
    assert last["containers"][0]["exitCode"] == 3
    assert last["containers"][0]["runtimeId"] == "it"


def test_what_a_task_is_described_by(ecs: Call) -> None:
    tags = [{"key": "team", "value": "data"}]
    found = describe(ecs, run(ecs, startedBy="airflow", group="it", tags=tags), include=["TAGS"])

    assert found["taskDefinitionArn"].endswith(":task-definition/report:1")
    assert found["clusterArn"].endswith(":cluster/airflow")
    assert (found["cpu"], found["memory"]) == ("1024", "2048")
    assert (found["launchType"], found["platformVersion"]) == ("FARGATE", "1.4.0")
    assert (found["startedBy"], found["group"], found["tags"]) == ("airflow", "it", tags)
    assert found["attachments"][0]["details"] == [{"name": "subnetId", "value": "subnet-1"}]
    assert found["containers"][0]["image"] == IMAGE
    assert "stopCode" not in found
    assert describe(ecs, found["taskArn"])["tags"] == []
    assert describe(ecs, run(ecs))["group"] == "family:report"


def test_tags_of_the_definition_come_along_when_asked_for(ecs: Call) -> None:
    tags = [{"key": "a", "value": "definition"}, {"key": "b", "value": "definition"}]
    ecs("RegisterTaskDefinition", **definition(tags=tags))
    arn = run(ecs, propagateTags="TASK_DEFINITION", tags=[{"key": "a", "value": "own"}])

    found = {tag["key"]: tag["value"] for tag in describe(ecs, arn, include=["TAGS"])["tags"]}
    assert found == {"a": "own", "b": "definition"}
    assert describe(ecs, run(ecs), include=["TAGS"])["tags"] == []


def test_an_agent_is_told_what_to_run(ecs: Call, agent: StandInAgent) -> None:
    environment = [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]
    one = container(environment=environment, logConfiguration=LOGS, secrets=[{"name": "S", "valueFrom": "s"}])
    other = container(
        "other",
        essential=False,
        dependsOn=[{"containerName": "main", "condition": "START"}],
        startTimeout=7,
        stopTimeout=9,
        memory=64,
        workingDirectory="/it",
        entryPoint=["sh", "-c"],
        healthCheck={"command": ["CMD", "true"]},
    )
    ecs("RegisterTaskDefinition", **definition(one, other))
    override = {"name": "main", "command": ["new"], "environment": [{"name": "B", "value": "2"}], "cpu": 256}
    arn = run(ecs, overrides={"containerOverrides": [override], "cpu": "2048", "memory": "4 GB"})
    work = agent.poll()[0]
    first, second = work.containers

    assert (work.cpu, work.memory) == (2048, 4096)
    assert (first["command"], first["environment"], first["cpu"]) == (["new"], {"A": "1", "B": "2"}, 256)
    assert first["secrets"] == [{"name": "S", "valueFrom": "s"}]
    assert first["logs"]["stream"] == f"it/main/{work.id}"
    assert first["logs"]["group"] == "/ecs"
    assert first["stop_timeout"] == 30
    assert (second["start_timeout"], second["stop_timeout"], second["essential"]) == (7, 9, False)
    assert (second["entry_point"], second["working_directory"], second["memory"]) == (["sh", "-c"], "/it", 64)
    assert (second["depends_on"], second["logs"]) == ({"main": "START"}, None)
    assert second["health_check"] == {"command": ["CMD", "true"]}
    assert work.about
    assert (work.about["arn"], work.about["launch_type"]) == (arn, "FARGATE")
    assert work.about["containers"].keys() == {"main", "other"}


def test_fargate_takes_its_time_when_asked_to(
    ecs: Call, agent: StandInAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(running.START_DELAY_SETTING, "30")
    arn = run(ecs)

    assert agent.poll() == []
    assert describe(ecs, arn)["lastStatus"] == "PROVISIONING"


def test_a_stop_has_the_callers_reason(ecs: Call, agent: StandInAgent, queue: WorkQueue) -> None:
    arn = run(ecs)
    work = agent.poll()[0]
    agent.report(arn, "RUNNING", at=1)
    _, answer = ecs("StopTask", cluster="airflow", task=work.id, reason="enough")

    assert answer["task"]["desiredStatus"] == "STOPPED"
    assert answer["task"]["lastStatus"] == "RUNNING"
    assert (answer["task"]["stopCode"], answer["task"]["stoppedReason"]) == ("UserInitiated", "enough")
    assert "stoppingAt" in answer["task"]
    _, stop = queue.poll("agent", [IMAGE], {work.id}, timeout=0)
    assert [(one["id"], one["code"], one["reason"]) for one in stop] == [(work.id, "UserInitiated", "enough")]


def test_a_stop_without_a_reason_has_one(ecs: Call) -> None:
    _, answer = ecs("StopTask", cluster="airflow", task=run(ecs))

    assert answer["task"]["stoppedReason"] == "Task stopped by user"


@pytest.mark.parametrize(
    ("healths", "expected"),
    [
        ([None], "UNKNOWN"),
        (["HEALTHY", None], "HEALTHY"),
        (["HEALTHY", "UNKNOWN"], "UNKNOWN"),
        (["HEALTHY", "UNHEALTHY"], "UNHEALTHY"),
    ],
)
def test_a_task_is_as_healthy_as_its_containers(
    ecs: Call, agent: StandInAgent, healths: list[str | None], expected: str
) -> None:
    names = ["main", "other"][: len(healths)]
    ecs("RegisterTaskDefinition", **definition(*map(container, names)))
    arn = run(ecs)
    agent.poll()
    containers = {
        name: {"status": "RUNNING", **({"health": health} if health else {})}
        for name, health in zip(names, healths, strict=True)
    }
    agent.report(arn, "RUNNING", containers=containers)

    assert describe(ecs, arn)["healthStatus"] == expected


def test_tasks_are_listed_by_what_is_asked_for(ecs: Call) -> None:
    ecs("RegisterTaskDefinition", **definition(family="other"))
    report = run(ecs, startedBy="a/b")
    other = run(ecs, taskDefinition="other", group="service:web")
    stopped = run(ecs)
    ecs("StopTask", cluster="airflow", task=stopped)

    def listed(**asked: Any) -> list[str]:
        arns: list[str] = ecs("ListTasks", cluster="airflow", **asked)[1]["taskArns"]
        return arns

    assert listed() == [report, other]
    assert listed(desiredStatus="STOPPED") == [stopped]
    assert listed(family="other") == [other]
    assert listed(startedBy="a/b") == [report]
    assert listed(serviceName="web") == [other]
    assert listed(launchType="EC2") == []


def test_a_list_comes_in_pages(ecs: Call) -> None:
    _, ran = ecs("RunTask", **task(count=5))
    arns = [one["taskArn"] for one in ran["tasks"]]
    pages = []
    token: dict[str, str] = {}
    while True:
        _, page = ecs("ListTasks", cluster="airflow", maxResults=2, **token)
        pages.append(page["taskArns"])
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}

    assert pages == [arns[:2], arns[2:4], arns[4:]]


def test_another_cluster_has_no_such_task(ecs: Call) -> None:
    ecs("CreateCluster", clusterName="other")
    arn = run(ecs)

    assert ecs("ListTasks", cluster="other")[1]["taskArns"] == []
    assert ecs("DescribeTasks", cluster="other", tasks=[arn])[1]["failures"][0]["reason"] == "MISSING"
    assert ecs("StopTask", cluster="other", task=arn)[0] == 400
