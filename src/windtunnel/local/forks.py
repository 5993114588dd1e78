"""The fork server as the stack sees it: its start, and what it cannot do."""

import contextlib
from collections.abc import Iterable, Mapping

from windtunnel.local import logs
from windtunnel.local.definitions import FORK_SERVER
from windtunnel.local.fork_client import SOCKET_VARIABLE
from windtunnel.local.fork_server import WARNING
from windtunnel.local.layout import Layout
from windtunnel.local.supervisor import Supervisor
from windtunnel.stack.command import COMMAND
from windtunnel.stack.errors import Finding
from windtunnel.waiting import WaitTimeout, wait_until

NOT_FORKED = "the fork server does not work: services import Airflow one by one, so a start is slower"


def start(layout: Layout, supervisor: Supervisor) -> None:
    """Start the fork server and wait until it listens; services go on without it if it does not."""
    supervisor.call("startProcess", FORK_SERVER, False)

    def is_decided() -> bool:
        return layout.fork_server_socket.exists() or supervisor.state(FORK_SERVER) != "running"

    with contextlib.suppress(WaitTimeout):
        wait_until("the fork server to listen", is_decided, timeout=5, interval=0.02)


def warnings(layout: Layout, supervisor: Supervisor, variables: Iterable[Mapping[str, str]]) -> list[Finding]:
    """Return what the fork server cannot do for the services that run.

    :param variables: of each service that is ready.
    """
    if not any(SOCKET_VARIABLE in each for each in variables):
        return []
    said = logs.lines(layout, FORK_SERVER)
    found = [line.removeprefix(WARNING) for line in said if line.startswith(WARNING)]
    if not supervisor.has_children(FORK_SERVER):
        found.append(NOT_FORKED)
    return [Finding(what, f"Its log: {COMMAND} logs {FORK_SERVER}") for what in dict.fromkeys(found)]
