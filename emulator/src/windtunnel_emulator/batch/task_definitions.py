"""The task definition that Batch registers with ECS for the jobs of a definition: it has the same name.

AWS tells of it nowhere; https://github.com/apache/airflow/pull/40823 cleans up behind it. Here its tasks are
not ECS's, so nothing runs by it: it is there to be found, and to be deregistered.
"""

import threading
from collections.abc import Mapping
from typing import Any

from localstack import config
from localstack.aws.connect import connect_to

from windtunnel_emulator.batch.definitions import platform_of, size
from windtunnel_emulator.batch.jobs import CONTAINER
from windtunnel_emulator.containers import records

# Submissions come in many threads at a time.
_REGISTERING = threading.Lock()


def register(definition: Any, account: str, region: str) -> None:
    """Register the task definition of a job definition, unless an earlier job has.

    :param definition: moto's record, which notes the ARN.
    """
    with _REGISTERING:
        # moto's own records, and those of an earlier version, have no such note.
        if getattr(definition, "task_definition", None):
            return
        ecs = connect_to(aws_access_key_id=account, region_name=region).ecs
        answer = ecs.register_task_definition(**_request(definition))
        definition.task_definition = answer["taskDefinition"]["taskDefinitionArn"]
    if config.PERSISTENCE:
        records.save("batch")


def _request(definition: Any) -> Mapping[str, Any]:
    own = definition.container_properties
    platform = platform_of(definition.platform_capabilities)
    vcpus, memory = size(own, platform)
    units = round(vcpus * 1024)
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": own["image"],
        "command": own.get("command", []),
        "environment": own.get("environment", []),
    }
    request: dict[str, Any] = {
        "family": definition.name,
        "containerDefinitions": [container],
        "requiresCompatibilities": [platform],
    }
    if platform == "FARGATE":
        request |= {"networkMode": "awsvpc", "cpu": str(units), "memory": str(memory)}
    else:
        request["networkMode"] = "host"
        container |= {"cpu": units, "memory": memory}
    roles = {"taskRoleArn": own.get("jobRoleArn"), "executionRoleArn": own.get("executionRoleArn")}
    return request | {name: role for name, role in roles.items() if role}
