"""A trigger that waits for a container, and loses none of its lines."""

from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.amazon.aws.triggers.ecs import TaskDoneTrigger
from airflow.triggers.base import TriggerEvent

from custom.relay import trigger_log

# So many lines are written before the next check whether there is room for more.
LINES_AT_ONCE = 100


class ContainerTrigger(TaskDoneTrigger):
    """The provider's trigger, which fires when all lines are in the task log, and holds up no other.

    The provider's own fires first, and relays the last lines afterwards. By then the task may go on, and
    Airflow loses what it has not read of a trigger that has ended. And it writes thousands of lines at once,
    for which the triggerer's event loop stands still until they are read.
    """

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the end of the container, relay its lines, then fire."""
        trigger_log.be_plain()
        events = [event async for event in super().run()]
        await trigger_log.read_by_supervisor()
        for event in events:
            yield event

    async def _forward_logs(self, logs_client: Any, next_token: str | None = None) -> str | None:
        return await super()._forward_logs(Paced(logs_client), next_token)


class Paced:
    """A client of CloudWatch Logs whose pages are short, and come when the triggerer's log has room."""

    def __init__(self, client: Any) -> None:
        """Ask that client for long pages."""
        self._client = client
        self._rest: list[dict[str, Any]] = []
        self._token = ""

    async def get_log_events(self, **request: Any) -> dict[str, Any]:
        """Return the next events; those that were read before are given out first."""
        await trigger_log.room()
        if not self._rest:
            page = await self._client.get_log_events(**request)
            self._rest, self._token = page["events"], page["nextForwardToken"]
        events, self._rest = self._rest[:LINES_AT_ONCE], self._rest[LINES_AT_ONCE:]
        # Whoever gets a token for the second time takes it for the end.
        token = f"{len(self._rest)} events before {self._token}" if self._rest else self._token
        return {"events": events, "nextForwardToken": token}
