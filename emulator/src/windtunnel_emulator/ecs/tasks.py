"""Tasks: work for an agent, described as ECS does."""

from datetime import UTC, datetime
from typing import Any

from windtunnel_emulator.containers.work import PENDING, PROVISIONING, Work
from windtunnel_emulator.ecs.instances import arn_of

type Answer = dict[str, Any]


def described(work: Work, tags: bool = True) -> Answer:
    """Return a task as ``DescribeTasks`` does.

    :param tags: whether with its tags.
    """
    state = work.state
    kept = {name: value for name, value in work.details.items() if name not in ("containers", "tags")}
    reported = state["containers"]
    answer = {
        **kept,
        "tags": work.details["tags"] if tags else [],
        "containerInstanceArn": arn_of(work.details["clusterArn"], work.place) if work.place else None,
        "createdAt": _time(work.created),
        "lastStatus": _status(work),
        "desiredStatus": desired_status(work),
        "containers": [
            _container(work, name, own, reported.get(name, {}))
            for name, own in work.details["containers"].items()
        ],
        "connectivity": "CONNECTED" if work.agent else "DISCONNECTED",
        "pullStartedAt": _time(state.get("pull_started")),
        "pullStoppedAt": _time(state.get("pull_stopped")),
        "startedAt": _time(state.get("started")),
        "stoppingAt": _time((work.stopping or {}).get("at") or state.get("stopping")),
        "executionStoppedAt": _time(state.get("execution_stopped")),
        "stoppedAt": _time(state.get("stopped")),
        "stopCode": (work.stopping or {}).get("code") or state.get("code"),
        "stoppedReason": (work.stopping or {}).get("reason") or state.get("reason"),
        "healthStatus": _health(work, [one.get("health") for one in reported.values()]),
        "version": state.get("version", 1),
        "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
    }
    return {name: value for name, value in answer.items() if value is not None}


def desired_status(work: Work) -> str:
    """Return what a task is to be: ``RUNNING`` or ``STOPPED``."""
    return "STOPPED" if work.stopping or "stopping" in work.state or work.stopped else "RUNNING"


def _status(work: Work) -> str:
    status = work.state["status"]
    # On an instance there is nothing to make ready.
    return PENDING if status == PROVISIONING and work.place else status


def _container(work: Work, name: str, own: Answer, reported: Answer) -> Answer:
    answer = {
        **own,
        "name": name,
        "taskArn": work.details["taskArn"],
        "lastStatus": reported.get("status", "STOPPED" if work.stopped else "PENDING"),
        "exitCode": reported.get("exit_code"),
        "reason": reported.get("reason"),
        "runtimeId": reported.get("id"),
        "healthStatus": reported.get("health", "UNKNOWN"),
        "networkInterfaces": [],
    }
    return {key: value for key, value in answer.items() if value is not None}


def _health(work: Work, reported: list[str | None]) -> str:
    found = [one for one in reported if one]
    if "UNHEALTHY" in found:
        return "UNHEALTHY"
    return "HEALTHY" if found and all(one == "HEALTHY" for one in found) else "UNKNOWN"


def _time(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
