"""The services that are workers of Celery: which queues each serves, and with how many slots."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from windtunnel.services.slots import is_valid
from windtunnel.stack import overlays
from windtunnel.stack.errors import Finding

# The first word of such a service's command (entrypoint.sh), and its options.
COMMAND_WORD = "celery-worker"
QUEUES, CONCURRENCY = "--queues", "--concurrency"


@dataclass(frozen=True)
class Workers:
    """One service, and how many replicas of it there are to be."""

    service: str
    replicas: int
    queues: tuple[str, ...]
    # Tasks that one replica runs at a time, as it is written.
    concurrency: str


def workers(configuration: Mapping[str, Any], scale: Mapping[str, int]) -> list[Workers]:
    """Return the workers of a stack.

    :param configuration: the compose file with all overlays.
    :param scale: the number of replicas, by service.
    """
    found = []
    for name, service in configuration["services"].items():
        command = service.get("command") or []
        words = command.split() if isinstance(command, str) else [str(word) for word in command]
        if words[:1] == [COMMAND_WORD]:
            options = dict(zip(words[1::2], words[2::2], strict=False))
            queues = (queue.strip() for queue in options.get(QUEUES, "default").split(","))
            number = overlays.replicas(name, configuration, scale)
            found.append(Workers(name, number, tuple(filter(None, queues)), options.get(CONCURRENCY, "")))
    return found


def findings(configuration: Mapping[str, Any], scale: Mapping[str, int]) -> Iterator[Finding]:
    """Yield workers that would run no task: without a slot, or without a queue."""
    for one in workers(configuration, scale):
        if not is_valid(one.concurrency):
            problem = f"the concurrency of {one.service} is {one.concurrency!r}"
            remedy = (
                "Set WORKER_CONCURRENCY to a whole number from 1 up: how many tasks a worker runs at a time."
            )
            yield Finding(problem, remedy)
        if not one.queues:
            yield Finding(f"{one.service} serves no queue", "Name them in WORKER_QUEUES: default,heavy")
