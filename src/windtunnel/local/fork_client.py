"""Asks the fork server (``windtunnel.local.fork_server``) for a fork, and represents it to supervisord.

Runs as ``python -IS fork_client.py COMMAND…`` in each start of a service, so it imports next to nothing.
"""

import json
import os
import signal
import socket
import struct
import sys

# The variable that each service that can be forked has: the fork server's socket.
SOCKET_VARIABLE = "FORK_SERVER_SOCKET"

# On the wire: the length of a request, a process's id (0: refused), its status at the end by wait(2).
NUMBER = struct.Struct("=i")

# Passed on; supervisord sends one of the first two.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def become(path: str, argv: list[str]) -> None:
    """Have a command run by a fork of the fork server, and end as it ends; run it here if that fails.

    The request to the socket at ``path`` consists of the standard streams, a length, and that many bytes of
    JSON with the command, its folder and its variables.
    """
    request = json.dumps([argv, os.getcwd(), dict(os.environ)]).encode()
    server = socket.socket(socket.AF_UNIX)
    try:
        server.connect(path)
        socket.send_fds(server, [NUMBER.pack(len(request))], [0, 1, 2])
        server.sendall(request)
        pid = received(server)
    except OSError:
        pid = None
    if not pid:
        os.execvp(argv[0], argv)  # noqa: S606
    for number in SIGNALS:
        signal.signal(number, lambda number, _: send(pid, number))
    status = received(server)
    if status is None:
        sys.exit(f"{' '.join(argv)}: the fork server has ended, and this fork of it too")
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if -code in SIGNALS:
            # Not by the handler, which passes it on.
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def received(connection: socket.socket) -> int | None:
    """Return the next number, or None if the other side is gone."""
    data = connection.recv(NUMBER.size, socket.MSG_WAITALL)
    return int(NUMBER.unpack(data)[0]) if len(data) == NUMBER.size else None


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    become(os.environ[SOCKET_VARIABLE], sys.argv[1:])
