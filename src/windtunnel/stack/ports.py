"""Ports of the loopback interface: whether one is free, and who has it."""

import contextlib
import errno
import socket

import psutil


def is_taken(port: int) -> bool:
    """Whether something on this machine listens on the port."""
    with socket.socket() as probe:
        # As for a listener, connections that linger after their end do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def holder(port: int) -> str:
    """Name the program that listens on the port; empty if none does."""
    return (process_on(port) or "another program") if is_taken(port) else ""


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def process_on(port: int) -> str:
    """Return name and id of the process that listens on the port; empty if this user may not know."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # some systems answer root alone
        return ""
    for connection in connections:
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
            with contextlib.suppress(psutil.Error):  # it has ended
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""
