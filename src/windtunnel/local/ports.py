"""The ports that a stack of processes takes on this machine."""

from collections.abc import Mapping

from windtunnel.stack import ports
from windtunnel.stack.base import Say
from windtunnel.stack.errors import StackError
from windtunnel.stack.settings import PORTS, Settings


def chosen(settings: Settings, say: Say) -> dict[str, int]:
    """Return a port for each service: the set one, else the usual one, else any that is free.

    :raises StackError: if a set one is taken.
    """
    found = {}
    for service, known in PORTS.items():
        port = int(settings.get(known.setting) or settings.usual_port(service) or 0)
        if settings.get(known.setting):
            _require_free(port, known.setting)
        elif port and ports.is_taken(port):
            by = ports.process_on(port) or "another program"
            say(f"port {port} is in use by {by}: {service} takes another")
            port = 0
        found[service] = port or ports.free_port()
    return found


def moved(settings: Settings, before: Mapping[str, int]) -> dict[str, int]:
    """Return ports that were set otherwise since the stack was started.

    :param before: the ports of the running stack.
    :raises StackError: if one of them is taken.
    """
    wanted = {service: int(settings.get(port.setting) or 0) for service, port in PORTS.items()}
    found = {service: port for service, port in wanted.items() if port and port != before[service]}
    for service, port in found.items():
        _require_free(port, PORTS[service].setting)
    return found


def _require_free(port: int, setting: str) -> None:
    if port and ports.is_taken(port):
        by = ports.process_on(port) or "another program"
        raise StackError(f"port {port} is in use by {by}", next_step=f"Set {setting} to another, or to 0.")
