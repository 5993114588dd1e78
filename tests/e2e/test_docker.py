"""Real containers, of ECS, Batch and DockerOperator: limits, failures, the agent killed with some at work."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest
from airflow_client.client.models.dag_run_response import DAGRunResponse

from tests.run_logs import all_events, raised
from tests.support import StackUnderTest
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.compose.labels import ONE_OFF_LABEL, PROJECT_LABEL
from windtunnel.waiting import wait_until

pytestmark = [pytest.mark.overlay("docker"), pytest.mark.engine("compose")]

NAME = "test-docker"
GROUP = "/test/docker"
IMAGE = "python:3.13-slim-trixie"
ROLE = "arn:aws:iam::000000000000:role/ecsTaskExecutionRole"
FARGATE = {
    "launchType": "FARGATE",
    "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-test"]}},
}


def container(*command: str, name: str = "main", **more: Any) -> dict[str, Any]:
    """A container of a task definition, with its output in the group of these tests."""
    options = {
        "awslogs-group": GROUP,
        "awslogs-region": "ap-southeast-2",
        "awslogs-stream-prefix": "test",
        "awslogs-create-group": "true",
    }
    logs = {"logDriver": "awslogs", "options": options}
    variables = [{"name": "NAME", "value": "of the definition"}]
    own = {"name": name, "image": IMAGE, "command": list(command), "environment": variables}
    return {**own, "logConfiguration": logs, **more}


class Ecs:
    """Runs tasks in a cluster of these tests."""

    def __init__(self, ecs: Any, logs: Any) -> None:
        self._ecs = ecs
        self._logs = logs
        ecs.create_cluster(clusterName=NAME)

    def register(self, family: str, *containers: dict[str, Any]) -> None:
        """Make a task definition."""
        self._ecs.register_task_definition(
            family=family,
            containerDefinitions=list(containers),
            cpu="256",
            memory="512",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            executionRoleArn=ROLE,
        )

    def start(self, *containers: dict[str, Any]) -> str:
        """Start a task, and return its ARN."""
        self.register(f"{NAME}-one", *containers)
        (task,) = self._ecs.run_task(cluster=NAME, taskDefinition=f"{NAME}-one", **FARGATE)["tasks"]
        return str(task["taskArn"])

    def look(self, arn: str) -> dict[str, Any]:
        """Return what ECS says of a task, its containers by their names."""
        (task,) = self._ecs.describe_tasks(cluster=NAME, tasks=[arn])["tasks"]
        return {**task, "containers": {one["name"]: one for one in task["containers"]}}

    def reaches(self, arn: str, status: str) -> dict[str, Any]:
        """Wait for a state of a task, and return what ECS says of it."""
        return wait_until(
            f"{arn} to be {status}",
            lambda: found if (found := self.look(arn))["lastStatus"] == status else None,
            timeout=120,
        )

    def run(self, *containers: dict[str, Any]) -> dict[str, Any]:
        """Run a task to its end."""
        return self.reaches(self.start(*containers), "STOPPED")

    def lines(self, arn: str, name: str = "main") -> list[str]:
        """Return what a container has written."""
        found = all_events(self._logs, GROUP, f"test/{name}/{arn.rpartition('/')[2]}")
        return [one["message"] for one in found]


@pytest.fixture(scope="module")
def ecs(aws_client: Callable[[str], Any]) -> Ecs:
    return Ecs(aws_client("ecs"), aws_client("logs"))


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="module")
def run(airflow: AirflowClient, ecs: Ecs, aws_client: Callable[[str], Any]) -> DAGRunResponse:
    """A run of the DAG of all operators, which has ended."""
    ecs.register(NAME, container("true"))
    batch = aws_client("batch")
    resources = {"type": "FARGATE", "maxvCpus": 4, "subnets": ["subnet-test"]}
    batch.create_compute_environment(computeEnvironmentName=NAME, type="MANAGED", computeResources=resources)
    order = [{"order": 1, "computeEnvironment": NAME}]
    batch.create_job_queue(jobQueueName=NAME, priority=1, computeEnvironmentOrder=order)
    size = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
    batch.register_job_definition(
        # Batch registers a task definition of this name with ECS.
        jobDefinitionName=f"{NAME}-job",
        type="container",
        platformCapabilities=["FARGATE"],
        containerProperties={"image": IMAGE, "executionRoleArn": ROLE, "resourceRequirements": size},
    )
    return airflow.wait(airflow.trigger(NAME), timeout=240)


def messages(airflow: AirflowClient, run: DAGRunResponse, task: str) -> list[str]:
    return [record.message for record in airflow.task_log(run, task).records]


def test_operators_run_an_image_that_is_not_the_stacks_own(
    airflow: AirflowClient, run: DAGRunResponse
) -> None:
    states = {task.task_id: str(task.state.value) for task in airflow.task_instances(run) if task.state}

    assert {name for name, state in states.items() if state == "failed"} == {"red", "mount", "privileged"}
    assert {name for name, state in states.items() if state == "success"} == {
        "ecs",
        "batch",
        "green",
        "reaches_aws",
    }
    assert any("of the definition" in line for line in messages(airflow, run, "ecs"))
    assert airflow.xcom(run, "green") == "of the operator"
    assert airflow.xcom(run, "reaches_aws") == "200"


def test_dockeroperator_fails_with_the_reason(airflow: AirflowClient, run: DAGRunResponse) -> None:
    assert "'StatusCode': 3" in raised(airflow.task_log(run, "red"))
    mount = raised(airflow.task_log(run, "mount"))
    assert "HostConfig.Mounts is not for containers of DAGs" in mount
    assert "docs/docker.md" in mount
    assert "HostConfig.Privileged" in raised(airflow.task_log(run, "privileged"))


def test_a_container_has_its_image_and_nothing_of_the_machine(ecs: Ecs) -> None:
    # By one pipe: Docker keeps no order between two.
    script = (
        "exec 2>&1; id -u; pwd; grep -c NoNewPrivs:.1 /proc/self/status;"
        " ls /run/secrets /var/run/docker.sock; exit 3"
    )
    task = ecs.run(container("sh", "-c", script, user="1000", workingDirectory="/usr"))

    assert (task["stopCode"], task["containers"]["main"]["exitCode"]) == ("EssentialContainerExited", 3)
    lines = ecs.lines(task["taskArn"])
    assert lines[:3] == ["1000", "/usr", "1"]
    assert sum("No such file" in line for line in lines) == 2


def test_more_memory_than_it_has_ends_a_container(ecs: Ecs) -> None:
    task = ecs.run(container("python3", "-c", "len(bytearray(700 << 20))"))

    main = task["containers"]["main"]
    assert main["exitCode"] == 137
    assert main["reason"] == "OutOfMemoryError: Container killed due to memory usage"
    assert task["stoppedReason"] == "Essential container in task exited"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"command": ["none-such"]}, "CannotStartContainerError: .*executable file not found"),
        (
            {"image": "windtunnel-has-no-such-image:1"},
            "CannotPullContainerError: Error response from daemon: ",
        ),
    ],
)
def test_what_cannot_start_says_why_in_dockers_words(ecs: Ecs, wrong: dict[str, Any], reason: str) -> None:
    task = ecs.run({**container("true"), **wrong})

    assert task["stopCode"] == "TaskFailedToStart"
    assert re.match(reason, task["stoppedReason"])
    assert "exitCode" not in task["containers"]["main"]


def test_containers_of_a_task_reach_each_other_as_localhost(ecs: Ecs) -> None:
    server = container(
        *("sh", "-c", "trap 'exit 0' TERM; python3 -m http.server 8000 & while :; do sleep 0.1; done"),
        name="server",
        essential=False,
        healthCheck={
            "command": [
                "CMD-SHELL",
                "python3 -c \"import socket; socket.create_connection(('localhost', 8000))\"",
            ],
            "interval": 5,
        },
    )
    asks = "import urllib.request as u; print(u.urlopen('http://localhost:8000/').status)"
    main = container("python3", "-c", asks, dependsOn=[{"containerName": "server", "condition": "HEALTHY"}])
    task = ecs.run(main, server)

    assert task["containers"]["main"]["exitCode"] == 0
    assert task["containers"]["server"]["healthStatus"] == "HEALTHY"
    assert ecs.lines(task["taskArn"]) == ["200"]


def test_a_killed_agent_ends_no_container(ecs: Ecs, airflow_stack: StackUnderTest) -> None:
    goes_on = "for one in $(seq 1 12); do echo $one; sleep 1; done; exit 7"
    going = ecs.start(container("sh", "-c", goes_on))
    ends_meanwhile = ecs.start(container("sh", "-c", "echo short; sleep 3; exit 8"))
    for arn in (going, ends_meanwhile):
        ecs.reaches(arn, "RUNNING")
    airflow_stack.kill("docker-agent")
    airflow_stack.start("docker-agent")
    airflow_stack.wait_for_health("docker-agent")

    for arn, code in ((going, 7), (ends_meanwhile, 8)):
        assert ecs.reaches(arn, "STOPPED")["containers"]["main"]["exitCode"] == code
    assert ecs.lines(going) == [str(number) for number in range(1, 13)]
    assert ecs.lines(ends_meanwhile) == ["short"]


def test_containers_are_gone_with_their_tasks(
    ecs: Ecs, run: DAGRunResponse, airflow_stack: StackUnderTest, engine: docker.DockerClient
) -> None:
    label: dict[str, Any] = {
        "label": [f"{PROJECT_LABEL}={airflow_stack.stack.project}", f"{ONE_OFF_LABEL}=True"]
    }
    # DockerOperator leaves one that has failed, to be looked at.
    wait_until(
        "containers of tasks to be gone",
        lambda: [one.status for one in engine.containers.list(all=True, filters=label)] == ["exited"],
        timeout=30,
    )


def test_what_still_runs_is_gone_with_the_stack(ecs: Ecs) -> None:
    """At the end of the session nothing of the project may be left: see conftest.py."""
    ecs.reaches(ecs.start(container("sleep", "1000"), container("sleep", "1000", name="other")), "RUNNING")


def test_the_example_runs(airflow: AirflowClient) -> None:
    run = airflow.wait(airflow.trigger("example-docker"), timeout=60)

    assert run.state == "success", "\n".join(airflow.failures(run))
    lines = airflow.task_log(run, "report").telling_lines()
    assert any(f"Report of {run.run_after:%Y-%m-%d}" in line for line in lines)
