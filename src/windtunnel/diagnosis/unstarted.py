"""Tasks of ECS and jobs of Batch that wait in vain: no agent asks for work, or no queue lets them go."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from windtunnel.diagnosis import batch, ecs
from windtunnel.services.probes import FRESH
from windtunnel.stack.base import Stack
from windtunnel.stack.command import COMMAND
from windtunnel.stack.errors import Finding, StackError

if TYPE_CHECKING:
    from windtunnel.stack.aws import Emulator

# Where the emulator says which agents there are.
AGENTS = "/_windtunnel/agents"

# The overlay, and the service, that runs containers.
AGENT = "ecs-agent"

QUEUE_SETTING = "AIRFLOW__AWS_BATCH_EXECUTOR__JOB_QUEUE"


def findings(stack: Stack) -> list[Finding]:
    """Find what keeps tasks and jobs from beginning, if LocalStack runs.

    :raises windtunnel.stack.errors.StackError: if LocalStack does not answer.
    """
    if not stack.is_running("localstack"):
        return []
    # Not at the top: every command imports this, and boto3 takes 0.2 s.
    from windtunnel.stack.aws import Emulator

    emulator = Emulator.of(stack)
    return of_services(stack, emulator, emulator.in_use())


def of_services(stack: Stack, emulator: "Emulator", in_use: Collection[str]) -> list[Finding]:
    """Find what keeps tasks of ECS and jobs of Batch from beginning, as far as these services are in use.

    :raises windtunnel.stack.errors.StackError: if LocalStack does not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return list(_findings(stack, emulator, in_use))
    except (BotoCoreError, ClientError) as error:
        raise StackError("LocalStack does not say what ECS and Batch hold", str(error)) from error


def _findings(stack: Stack, emulator: "Emulator", in_use: Collection[str]) -> Iterator[Finding]:
    from windtunnel.stack.aws import PATIENCE

    waiting: dict[tuple[str, str], int | None] = {}
    if "ecs" in in_use:
        waiting["task of ECS", "tasks of ECS"] = ecs.waiting(emulator.client("ecs", **PATIENCE))
    if "batch" in in_use:
        client = emulator.client("batch", **PATIENCE)
        waiting["job of Batch", "jobs of Batch"] = batch.waiting(client)
        yield from batch.stuck(client)
        yield from batch.disabled(client, stack.variables("scheduler").get(QUEUE_SETTING, ""))
    held = {names: number for names, number in waiting.items() if number is not None}
    if held and not any(agent["seen"] < FRESH for agent in emulator.ask(AGENTS).values()):
        counts = [f"{number:,} {names[number > 1]}" for names, number in held.items() if number]
        whose = " and ".join(counts or [plural for _, plural in held])
        does = "would wait" if not counts else "waits" if sum(filter(None, held.values())) == 1 else "wait"
        yield Finding(f"no agent asks for work: {whose} {does} for one", _remedy(stack))


def _remedy(stack: Stack) -> str:
    if AGENT in stack.service_names:
        return f"Its log: {COMMAND} logs {AGENT}. If it does not run: {COMMAND} up"
    return f"{COMMAND} up --with {AGENT}"
