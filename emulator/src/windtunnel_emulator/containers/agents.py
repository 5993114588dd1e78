"""Where agents ask for work and report: ``/_windtunnel/agents/NAME`` at LocalStack's address.

The calls go from the agent to LocalStack, as those of Amazon's ECS agent go to ECS: nobody can call an agent.
``/_windtunnel/agents`` says which there are.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localstack import config
from localstack.http import Request, Response, Router
from localstack.runtime.hooks import on_infra_start
from localstack.runtime.shutdown import SHUTDOWN_HANDLERS
from localstack.services.edge import ROUTER

from windtunnel_emulator.containers.secrets import SecretError, secrets_of
from windtunnel_emulator.containers.work import Work, WorkQueue
from windtunnel_emulator.once import once

ALL = "/_windtunnel/agents"
PATH = f"{ALL}/<name>"

# How long a question for work is held open at most, in seconds.
LONGEST_POLL = 20.0


@once
def queue() -> WorkQueue:
    """Return the one queue, which outlives LocalStack with ``PERSISTENCE=1``."""
    made = WorkQueue(Path(config.dirs.data) / "containers" if config.PERSISTENCE else None)
    SHUTDOWN_HANDLERS.register(made.end_questions)
    return made


@on_infra_start()  # type: ignore[untyped-decorator]
def serve_agents() -> None:
    """Add the routes; nothing is loaded before an agent comes."""
    add_routes(ROUTER)


def add_routes(router: Router[Any]) -> None:
    """Add the routes to a router of LocalStack's."""
    router.add(ALL, listed, methods=["GET"])
    router.add(f"{PATH}/poll", poll, methods=["POST"])
    router.add(f"{PATH}/work/<identifier>", report, methods=["PUT"])


def listed(request: Request) -> Response:
    """Return the agents of the last minute by name: ``images``, and how many seconds ago one was ``seen``."""
    now = time.time()
    found = queue().agents().items()
    return _json({name: {"images": list(one.images), "seen": now - one.seen} for name, one in found})


def poll(request: Request, name: str) -> Response:
    """Return the work that an agent is to start, and the ids of what it is to stop.

    The request is ``{"images": [PATTERN, …], "held": [ID, …], "stopping": [ID, …], "timeout": SECONDS}``, and
    ``instance`` if the agent is a container instance of ECS. While LocalStack ends, the answer is 503.
    """
    if queue().is_ending:
        return _json({}, 503)
    asked = request.get_json(force=True)
    timeout = min(float(asked.get("timeout", LONGEST_POLL)), LONGEST_POLL)
    stopping = set(asked.get("stopping", ()))
    start, stop = queue().poll(
        name, asked["images"], set(asked["held"]), timeout, stopping, asked.get("instance")
    )
    return _json({"start": list(filter(None, map(_ordered, start))), "stop": stop})


def report(request: Request, name: str, identifier: str) -> Response:
    """Take the state of work; an agent is to end work of which LocalStack knows nothing."""
    known = queue().report(identifier, request.get_json(force=True))
    return _json({}, 200 if known else 404)


def _ordered(work: Work) -> dict[str, Any] | None:
    """Return work as an agent is told of it, with the values of its secrets, which are kept nowhere here."""
    try:
        secrets = secrets_of(work)
    except SecretError as error:
        queue().fail(work, "TaskFailedToStart", str(error))
        return None
    containers = [
        {**container, "environment": {**container["environment"], **secrets.get(container["name"], {})}}
        for container in work.containers
    ]
    common = {"id": work.id, "service": work.service, "region": work.region, "account": work.account}
    return {**common, "memory": work.memory, "cpu": work.cpu, "task": work.about, "containers": containers}


def _json(content: Mapping[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status=status, mimetype="application/json")
