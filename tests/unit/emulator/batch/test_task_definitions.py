"""Batch registers a task definition with ECS for the jobs of each revision of a job definition."""

from pathlib import Path
from typing import Any

import pytest
from localstack import config
from moto.backends import get_backend

from tests.unit.emulator.batch.conftest import REGION, Batch
from windtunnel_emulator.batch import definitions
from windtunnel_emulator.containers import records

ROLE = "arn:aws:iam::000000000000:role/ecsTaskExecutionRole"


def registered(batch: Batch) -> list[str]:
    """Family and revision of each."""
    arns = batch.ask("ecs", "ListTaskDefinitions")["taskDefinitionArns"]
    return [arn.rpartition("/")[2] for arn in arns]


def test_the_first_job_of_a_revision_has_it_registered(batch: Batch) -> None:
    assert registered(batch) == []

    for _ in range(2):
        batch.submit()
    assert registered(batch) == ["report:1"]

    batch.definition(image="another")
    batch.submit()
    assert registered(batch) == ["report:1", "report:2"]


def described(batch: Batch, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = batch.ask("ecs", "DescribeTaskDefinition", taskDefinition=name)
    return dict(answer["taskDefinition"])


def test_it_says_what_a_job_on_ec2_runs(batch: Batch) -> None:
    variables = [{"name": "COLOUR", "value": "red"}]
    batch.definition(environment=variables, jobRoleArn=ROLE)
    batch.submit()

    found = described(batch, "report:1")
    (container,) = found["containerDefinitions"]
    expected = {
        "name": "default",
        "image": "windtunnel-airflow",
        "command": ["true"],
        "cpu": 1024,
        "memory": 64,
    }
    assert container.items() >= {**expected, "environment": variables}.items()
    assert (found["requiresCompatibilities"], found["taskRoleArn"]) == (["EC2"], ROLE)


def test_it_says_what_a_job_on_fargate_runs(batch: Batch) -> None:
    batch.environment("serverless", kind="FARGATE")
    batch.job_queue("serverless", environment="serverless")
    required = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
    fargate = {"platformCapabilities": ["FARGATE"]}
    own: dict[str, Any] = {"vcpus": None, "memory": None, "executionRoleArn": ROLE}
    batch.definition("small", fargate, resourceRequirements=required, **own)
    batch.submit(queue="serverless", definition="small")

    found = described(batch, "small:1")
    size = {"cpu": "256", "memory": "512", "networkMode": "awsvpc", "executionRoleArn": ROLE}
    assert found.items() >= {**size, "requiresCompatibilities": ["FARGATE"]}.items()


def test_one_that_is_deregistered_stays_so_and_jobs_go_on(batch: Batch) -> None:
    batch.submit()
    batch.ask("ecs", "DeregisterTaskDefinition", taskDefinition="report:1")

    assert batch.status(batch.submit()) == "STARTING"
    assert registered(batch) == []


def test_a_new_localstack_does_not_register_it_again(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(config, "PERSISTENCE", 1)
    monkeypatch.setattr(config.dirs, "data", str(tmp_path))
    batch.submit()
    backend = get_backend("batch")[batch.account][REGION]
    backend.reset()

    records.restore("batch")

    assert definitions.find(backend, "report").task_definition.endswith(":task-definition/report:1")
