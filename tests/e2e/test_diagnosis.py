"""What `status`, `doctor` and the failure bundle tell of the services that run containers, and of queues."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from windtunnel.diagnosis import evidence, status, unstarted
from windtunnel.stack import aws
from windtunnel.testing.stack import RunningStack
from windtunnel.waiting import wait_until

# No agent stands in for it.
NO_IMAGE = "no-such-image"
ROLE = "arn:aws:iam::000000000000:role/ecsTaskExecutionRole"


def test_a_service_is_in_use_once_it_was_called(windtunnel: RunningStack) -> None:
    # Nothing else calls it.
    assert "ce" not in aws.Emulator.of(windtunnel.stack).in_use()

    day = {"Start": "2026-01-01", "End": "2026-01-02"}
    windtunnel.aws("ce").get_cost_and_usage(TimePeriod=day, Granularity="DAILY", Metrics=["BlendedCost"])

    assert "ce" in aws.Emulator.of(windtunnel.stack).in_use()


def test_queues_are_listed_with_what_waits_in_them(windtunnel: RunningStack) -> None:
    sqs = windtunnel.aws("sqs")
    url = sqs.create_queue(QueueName="test-diagnosis")["QueueUrl"]
    try:
        sqs.send_message(QueueUrl=url, MessageBody="one")

        assert ("test-diagnosis", "", "1 waiting") in status.Report.of(windtunnel.stack).aws["SQS"]
    finally:
        sqs.delete_queue(QueueUrl=url)


@pytest.mark.overlay("lambda-executor")
def test_the_queues_of_the_lambda_executor_are_listed(windtunnel: RunningStack) -> None:
    names = [name for name, _, _ in status.Report.of(windtunnel.stack).aws["SQS"]]

    assert {"airflow-lambda-executor-results", "airflow-lambda-executor-dlq"} <= set(names)


@pytest.mark.overlay("ecs")
class TestEcs:
    """Of ECS."""

    @pytest.fixture
    def run_task(self, windtunnel: RunningStack, image: str) -> Iterator[Callable[..., None]]:
        """Run a task to its end, with a secret in its environment and a log group of its own."""
        ecs = windtunnel.aws("ecs")
        options = {"awslogs-group": "/test/diagnosis", "awslogs-region": "ap-southeast-2"}
        logs = {**options, "awslogs-stream-prefix": "test", "awslogs-create-group": "true"}

        def run(image: str = image, *command: str) -> None:
            main = {
                "name": "main",
                "image": image,
                "command": [*command],
                "environment": [{"name": "PASSWORD", "value": "hunter2"}],
                "logConfiguration": {"logDriver": "awslogs", "options": logs},
            }
            definition = ecs.register_task_definition(
                family="test-diagnosis",
                requiresCompatibilities=["FARGATE"],
                networkMode="awsvpc",
                cpu="256",
                memory="512",
                executionRoleArn=ROLE,
                containerDefinitions=[main],
            )["taskDefinition"]["taskDefinitionArn"]
            (task,) = ecs.run_task(
                cluster="airflow",
                taskDefinition=definition,
                launchType="FARGATE",
                startedBy="the test",
                networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-any"]}},
            )["tasks"]
            ecs.get_waiter("tasks_stopped").wait(
                cluster="airflow", tasks=[task["taskArn"]], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
            )

        yield run
        for arn in ecs.list_task_definitions(familyPrefix="test-diagnosis")["taskDefinitionArns"]:
            ecs.deregister_task_definition(taskDefinition=arn)

    def test_tasks_that_failed_say_why_and_their_output_is_in_the_bundle(
        self, windtunnel: RunningStack, run_task: Callable[..., None], image: str, tmp_path: Path
    ) -> None:
        run_task(image, "sh", "-c", "echo the last words; exit 3")
        run_task(NO_IMAGE)

        rows = status.Report.of(windtunnel.stack).aws["ECS"]
        clusters = {name: state for name, state, _ in rows if not name.startswith(" ")}
        assert clusters == {"airflow": "ACTIVE", "default": "ACTIVE"}
        failed = [note for name, _, note in rows if name.startswith("  test-diagnosis:")][:2]
        assert (
            f"started by the test: CannotPullContainerError: no agent of this stack can run {NO_IMAGE}"
            in failed[0]
        )
        assert failed[1].endswith("started by the test: Essential container in task exited, exit code 3")

        evidence.write(windtunnel, tmp_path / "bundle")
        found = json.loads((tmp_path / "bundle" / "ecs.json").read_text())
        assert {one["clusterName"] for one in found["clusters"]} == {"airflow", "default"}
        exit_codes = [one.get("exitCode") for task in found["tasks"] for one in task["containers"]]
        assert 3 in exit_codes
        words = [path.read_text() for path in (tmp_path / "bundle" / "containers").iterdir()]
        assert any("the last words" in text for text in words)
        assert secrets_in(tmp_path / "bundle") == []

    @pytest.fixture
    def image(self, windtunnel: RunningStack) -> str:
        """The stack's own."""
        return str(windtunnel.stack.variables("scheduler")["AIRFLOW_VAR_REMOTE_IMAGE"])


@pytest.mark.overlay("batch")
class TestBatch:
    """Of Batch."""

    def test_a_job_that_failed_says_why_and_its_output_is_in_the_bundle(
        self, windtunnel: RunningStack, tmp_path: Path
    ) -> None:
        batch = windtunnel.aws("batch")
        override = {
            "command": ["sh", "-c", "echo the last words; exit 3"],
            "environment": [{"name": "PASSWORD", "value": "hunter2"}],
        }
        job = batch.submit_job(
            jobName="test-diagnosis",
            jobQueue="airflow",
            jobDefinition="airflow",
            containerOverrides=override,
        )["jobId"]
        wait_until("the job to have failed", lambda: _status(batch, job) == "FAILED", timeout=60)

        rows = status.Report.of(windtunnel.stack).aws["Batch"]
        assert [row[:2] for row in rows[:2]] == [("airflow", "ENABLED"), ("airflow", "ENABLED")]
        (note,) = [note for name, state, note in rows if (name, state) == ("  test-diagnosis", "failed")]
        assert note.endswith(": Essential container in task exited, exit code 3")

        evidence.write(windtunnel, tmp_path / "bundle")
        found = json.loads((tmp_path / "bundle" / "batch.json").read_text())
        assert job in [one["jobId"] for one in found["jobs"]]
        words = [path.read_text() for path in (tmp_path / "bundle" / "containers").iterdir()]
        assert any("the last words" in text for text in words)
        assert secrets_in(tmp_path / "bundle") == []

    @pytest.fixture
    def small(self, windtunnel: RunningStack) -> Iterator[str]:
        """The name of a job queue, and of its environment, with one vCPU."""
        batch, name = windtunnel.aws("batch"), "test-small"
        batch.create_compute_environment(
            computeEnvironmentName=name,
            type="MANAGED",
            computeResources={"type": "FARGATE", "maxvCpus": 1, "subnets": ["subnet-any"]},
        )
        order = [{"order": 1, "computeEnvironment": name}]
        batch.create_job_queue(jobQueueName=name, priority=1, computeEnvironmentOrder=order)
        yield name
        batch.update_job_queue(jobQueue=name, state="DISABLED")
        batch.delete_job_queue(jobQueue=name)
        batch.update_compute_environment(computeEnvironment=name, state="DISABLED")
        batch.delete_compute_environment(computeEnvironment=name)

    def test_a_job_for_which_there_is_no_room_is_found_until_it_is_ended(
        self, windtunnel: RunningStack, small: str
    ) -> None:
        batch = windtunnel.aws("batch")
        sizes = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "4096"}]
        job = batch.submit_job(
            jobName="too-big",
            jobQueue=small,
            jobDefinition="airflow",
            containerOverrides={"resourceRequirements": sizes},
        )["jobId"]

        (found,) = unstarted.findings(windtunnel.stack)
        assert found.problem.startswith(
            f"the job too-big of the queue {small} cannot begin: MISCONFIGURATION:"
        )
        assert job in found.remedy

        batch.terminate_job(jobId=job, reason="the test is over")
        assert unstarted.findings(windtunnel.stack) == []


def _status(batch: Any, job: str) -> str:
    return str(batch.describe_jobs(jobs=[job])["jobs"][0]["status"])


def secrets_in(folder: Path) -> list[str]:
    """The files of a bundle that have the secret of these tests."""
    return [path.name for path in folder.rglob("*") if path.is_file() and "hunter2" in path.read_text()]
