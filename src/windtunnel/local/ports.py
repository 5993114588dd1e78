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
    found = moved(settings, {})
    for service, known in PORTS.items():
        usual = "" if settings.get(known.setting) else settings.usual_port(service)
        if usual and (by := ports.holder(int(usual))):
            say(f"port {usual} is in use by {by}: {service} takes another")
            usual = ""
        if service not in found:
            found[service] = int(usual or ports.free_port())
    return found


def moved(settings: Settings, before: Mapping[str, int]) -> dict[str, int]:
    """Return the ports that have been set differently since the stack was started.

    :param before: the ports of the running stack.
    :raises StackError: if one of them is taken.
    """
    wanted = {service: int(settings.get(port.setting) or 0) for service, port in PORTS.items()}
    found = {service: port for service, port in wanted.items() if port and port != before.get(service)}
    for service, port in found.items():
        if by := ports.holder(port):
            next_step = f"Set {PORTS[service].setting} to another, or to 0."
            raise StackError(f"port {port} is in use by {by}", next_step=next_step)
    return found
