"""Requests of ECS that are right, to be changed by a test."""

from typing import Any

IMAGE = "windtunnel-airflow"
ROLE = "arn:aws:iam::000000000000:role/ecsTaskExecutionRole"
LOGS = {
    "logDriver": "awslogs",
    "options": {"awslogs-group": "/ecs", "awslogs-region": "ap-southeast-2", "awslogs-stream-prefix": "it"},
}
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
INSTANCE = {"cluster": "airflow", "cpu": 2048, "memory": 1024}


def container(name: str = "main", **more: Any) -> dict[str, Any]:
    """A container definition."""
    return {"name": name, "image": IMAGE, "command": ["report"], **more}


def definition(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What registers a definition for Fargate; None leaves a parameter out."""
    request = {
        "family": "report",
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": "1024",
        "memory": "2048",
        "executionRoleArn": ROLE,
        "containerDefinitions": list(containers) or [container(logConfiguration=LOGS)],
        **more,
    }
    return {name: value for name, value in request.items() if value is not None}


def on_ec2(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What registers a definition for instances."""
    alone = {"requiresCompatibilities": ["EC2"], "networkMode": None, "cpu": None, "memory": None}
    return definition(
        *(containers or [container(memory=512, cpu=100)]), **{"family": "small", **alone, **more}
    )


def task(**more: Any) -> dict[str, Any]:
    """What runs a task on Fargate; None leaves a parameter out."""
    request = {
        "cluster": "airflow",
        "taskDefinition": "report",
        "launchType": "FARGATE",
        "networkConfiguration": NETWORK,
        **more,
    }
    return {name: value for name, value in request.items() if value is not None}


def task_on_ec2(**more: Any) -> dict[str, Any]:
    """What runs a task on an instance."""
    return task(**{"taskDefinition": "small", "launchType": "EC2", "networkConfiguration": None, **more})
