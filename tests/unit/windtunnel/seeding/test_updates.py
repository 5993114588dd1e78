"""What overlays list of Batch is made once, and brought to other arguments when these change."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from windtunnel.seeding.resources import Call, apply

CONTAINER = {"image": "any", "resourceRequirements": [{"type": "VCPU", "value": "1"}]}
DEFINITION = {"jobDefinitionName": "airflow", "type": "container", "containerProperties": CONTAINER}


class Exceptions:
    ClientError = ClientError


class Batch:
    """Batch's client: what is there already, and what it was called with."""

    exceptions = Exceptions

    def __init__(self, definitions: list[dict[str, Any]], refusal: str = "Object already exists") -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.meta = type("Meta", (), {"service_model": type("Model", (), {"service_name": "batch"})})
        self._definitions = definitions
        self._refusal = refusal

    def describe_job_definitions(self, jobDefinitionName: str, status: str) -> dict[str, Any]:
        assert status == "ACTIVE"
        found = [one for one in self._definitions if one["jobDefinitionName"] == jobDefinitionName]
        return {"jobDefinitions": found}

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> None:
            if name.startswith("create_"):
                message = f"Error executing request, Exception : {self._refusal}, RequestId: 1"
                raise ClientError({"Error": {"Code": "ClientException", "Message": message}}, name)
            self.calls.append((name, arguments))

        return call


def seeded(client: Batch, operation: str, arguments: dict[str, Any]) -> list[str]:
    calls: list[Call] = [("batch", operation, arguments)]
    return apply(calls, lambda _: client)[1]


def test_a_definition_is_registered_if_the_latest_is_another_one() -> None:
    filled_in = {**CONTAINER, "volumes": [], "environment": []}
    same = {**DEFINITION, "revision": 2, "status": "ACTIVE", "containerProperties": filled_in}
    older = {**DEFINITION, "revision": 1, "containerProperties": {"image": "other"}}

    for there, registered in (([], 1), ([older], 1), ([same, older], 0)):
        client = Batch(there)
        assert seeded(client, "register_job_definition", DEFINITION) == []
        assert [name for name, _ in client.calls] == ["register_job_definition"] * registered


@pytest.mark.parametrize(
    ("operation", "arguments", "expected"),
    [
        (
            "create_compute_environment",
            {
                "computeEnvironmentName": "airflow",
                "type": "MANAGED",
                "computeResources": {"type": "FARGATE", "maxvCpus": 4, "subnets": ["subnet-any"]},
            },
            (
                "update_compute_environment",
                {
                    "computeEnvironment": "airflow",
                    "computeResources": {"maxvCpus": 4, "subnets": ["subnet-any"]},
                },
            ),
        ),
        (
            "create_compute_environment",
            {"computeEnvironmentName": "own", "type": "UNMANAGED", "unmanagedvCpus": 2},
            ("update_compute_environment", {"computeEnvironment": "own", "unmanagedvCpus": 2}),
        ),
        (
            "create_job_queue",
            {"jobQueueName": "airflow", "priority": 2, "computeEnvironmentOrder": [], "tags": {"a": "b"}},
            ("update_job_queue", {"jobQueue": "airflow", "priority": 2, "computeEnvironmentOrder": []}),
        ),
    ],
)
def test_what_is_there_is_brought_to_the_arguments(
    operation: str, arguments: dict[str, Any], expected: tuple[str, dict[str, Any]]
) -> None:
    client = Batch([])

    assert seeded(client, operation, arguments) == []
    assert client.calls == [expected]


def test_any_other_refusal_is_told() -> None:
    client = Batch([], refusal="ComputeEnvironment other does not exist")

    (reason,) = seeded(client, "create_job_queue", {"jobQueueName": "airflow"})
    assert "batch.create_job_queue" in reason
    assert "ComputeEnvironment other does not exist" in reason
    assert client.calls == []
