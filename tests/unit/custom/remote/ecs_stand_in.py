"""ECS as far as it keeps task definitions, behind a client of boto3 that checks what it is asked."""

import copy
import json
import threading
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse

ARN = "arn:aws:ecs:ap-southeast-2:000000000000:task-definition/"


class _Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> list[bytes]:
        return [self._content]


class EcsStandIn:
    """Fills in what ECS fills in, and gives lists back in another order."""

    def __init__(self) -> None:
        self.revisions: dict[str, list[dict[str, Any]]] = {}
        self.refusal = ""
        # Set when a first task may register: until then all look.
        self.go_on = threading.Event()
        self.go_on.set()
        self.looks = 0
        self.client = boto3.client(
            "ecs",
            region_name="ap-southeast-2",
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106
        )
        self.client.meta.events.register("before-send.ecs", self._answer)

    def registered(self, family: str) -> list[dict[str, Any]]:
        return self.revisions.get(family, [])

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        operation = request.headers["X-Amz-Target"].decode().rpartition(".")[2]
        given = json.loads(request.body)
        status, answer = getattr(self, f"_{operation}")(given)
        body: Any = _Body(json.dumps(answer).encode())
        return AWSResponse(request.url, status, {}, body)

    def _DescribeTaskDefinition(self, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.looks += 1
        active = [one for one in self.registered(given["taskDefinition"]) if one["status"] == "ACTIVE"]
        if not active:
            return 400, {"__type": "ClientException", "message": "Unable to describe task definition."}
        return 200, {"taskDefinition": active[-1]}

    def _RegisterTaskDefinition(self, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.go_on.wait(10)
        if self.refusal:
            return 400, {"__type": "ClientException", "message": self.refusal}
        family = self.revisions.setdefault(given["family"], [])
        revision = {**_filled_in(given), "revision": len(family) + 1, "status": "ACTIVE"}
        family.append({**revision, "taskDefinitionArn": f"{ARN}{given['family']}:{len(family) + 1}"})
        return 200, {"taskDefinition": family[-1]}


def _filled_in(given: dict[str, Any]) -> dict[str, Any]:
    definition = copy.deepcopy(given)
    for one in definition["containerDefinitions"]:
        for name in ("portMappings", "mountPoints", "volumesFrom", "systemControls"):
            one.setdefault(name, [])
        one |= {"cpu": one.get("cpu", 0), "essential": one.get("essential", True)}
        one["environment"] = list(reversed(one.get("environment", [])))
        one["secrets"] = list(reversed(one.get("secrets", [])))
        if "logConfiguration" in one:
            one["logConfiguration"].setdefault("secretOptions", [])
        if "healthCheck" in one:
            one["healthCheck"] = {"interval": 30, "timeout": 5, "retries": 3, **one["healthCheck"]}
    filled = {"volumes": [], "placementConstraints": [], "enableFaultInjection": False}
    added = {"registeredAt": 1.0, "registeredBy": "me", "requiresAttributes": [{"name": "a"}]}
    return {**filled, **added, "compatibilities": ["EC2", "FARGATE"], **definition}
