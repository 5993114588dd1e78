"""Tasks that wait because all slots are taken: everything is healthy, and nothing goes on."""

from datetime import datetime

from windtunnel.stack.base import Stack
from windtunnel.stack.errors import Finding

# How many holders of slots are named.
NAMED = 5
REMEDY = (
    "Set PARALLELISM to more slots, or let what waits give its slot back: deferrable=True,"
    ' or mode="reschedule" for a sensor.'
)


def findings(stack: Stack) -> list[Finding]:
    """Name the tasks that hold all slots, if others wait for one and the scheduler runs.

    :raises windtunnel.stack.errors.StackError: if the webserver does not answer.
    """
    if not stack.is_running("webserver"):
        return []
    found = stack.ask("webserver", "held_up")
    if not found["waiting"]:
        return []
    holders = [f"{name} since {datetime.fromtimestamp(since):%H:%M}" for name, since in found["holders"]]
    more = f" and {len(holders) - NAMED} more" if len(holders) > NAMED else ""
    who = "1 task waits" if found["waiting"] == 1 else f"{found['waiting']:,} tasks wait"
    problem = f"{who} for a slot: all {found['slots']} are taken by {', '.join(holders[:NAMED])}{more}"
    return [Finding(problem, REMEDY)]
