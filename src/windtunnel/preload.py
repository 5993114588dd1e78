"""Airflow is imported once for all services of the local engine, which are forked from that process.

Each of Airflow's services imports the same 2,000 modules: 2 s of CPU and 150 MB. A server imports them once.
The process of a service (``windtunnel.become``) asks it for a fork that becomes the service, and stands in
for that: it passes on signals one way and the exit status the other. Where the server cannot help, it becomes
the service itself.

The server imports when the first client comes: Airflow's settings want the secrets, which are there once a
service asks.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from windtunnel.become import NUMBER, SOCKET_SETTING, send

# What most services import, and can be imported in a process that is to be forked: it starts no threads. No
# more than the web server needs, which takes longest to start and waits for this.
MODULES = (
    "airflow.cli.cli_parser",
    # By dag-processor and triggerer called without a server.
    "airflow.api_fastapi.execution_api.app",
    "airflow.cli.commands.api_server_command",
)

# Variables in which services differ and that Airflow does not read while it is imported.
OWN_VARIABLES = frozenset({"HOME", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_", "WINDTUNNEL_STARTED"})

# So long a client may take to say what it wants, in seconds: it says it in one go.
PATIENCE = 5.0

# prctl(2): the signal that a process gets when its parent ends.
PR_SET_PDEATHSIG = 1


class Request(NamedTuple):
    """What a client wants to become."""

    argv: list[str]
    folder: str
    environment: dict[str, str]


class Server:
    """Forks itself for each client, and tells it how the fork has ended."""

    def __init__(self, path: Path) -> None:
        """Listen; nothing is imported yet.

        :param path: of the socket.
        """
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen()
        # At the end of a fork the signal's number arrives here, so that one place waits for all.
        self._woken, self._wake = socket.socketpair()
        self._clients: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)

    def serve(self, modules: tuple[str, ...] = MODULES) -> Request:
        """Import, then fork for each client. Returns in the forks alone.

        :return: what this fork is to be.
        """
        self._selector.select()
        _set_title("airflow preload")
        # Nothing of what is imported is garbage; frozen, it is never looked at, so its pages stay shared.
        gc.disable()
        for module in modules:
            importlib.import_module(module)
        gc.freeze()
        for end in (self._woken, self._wake):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    if (request := self._accept()) is not None:
                        return request
                elif key.fileobj is self._woken:
                    self._woken.recv(4096)
                    self._reap()
                else:
                    self._abandoned(key.data)

    def _accept(self) -> Request | None:
        client, _ = self._listener.accept()
        client.settimeout(PATIENCE)
        descriptors: list[int] = []
        try:
            data, descriptors, *_ = socket.recv_fds(client, NUMBER.size, 3)
            (length,) = NUMBER.unpack(data)
            with client.makefile("rb") as stream:
                request = Request(*json.loads(stream.read(length)))
            if shared(request.environment) != shared(os.environ):
                client.sendall(NUMBER.pack(0))
            elif self._fork(client):
                _stand_alone(descriptors)
                return request
        except (OSError, ValueError, TypeError, struct.error) as error:
            sys.stderr.write(f"preload: a client is left alone: {error}\n")
        for descriptor in descriptors:
            os.close(descriptor)
        return None

    def _fork(self, client: socket.socket) -> bool:
        """Fork; whether this is the fork."""
        pid = os.fork()
        if pid:
            self._clients[pid] = client
            self._selector.register(client, selectors.EVENT_READ, pid)
            client.sendall(NUMBER.pack(pid))
            return False
        # Everything else is the server's.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for one in (client, self._listener, self._woken, self._wake, *self._clients.values()):
            one.close()
        return True

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while found := os.waitpid(-1, os.WNOHANG):
                pid, status = found
                if not pid:
                    return
                client = self._clients.pop(pid)
                with contextlib.suppress(KeyError):
                    self._selector.unregister(client)
                with contextlib.suppress(OSError):
                    client.sendall(NUMBER.pack(status))
                client.close()

    def _abandoned(self, pid: int) -> None:
        """Who waited for a fork is gone: so must be the fork."""
        if pid in self._clients:
            self._selector.unregister(self._clients[pid])
            send(pid, signal.SIGKILL)


def shared(environment: Mapping[str, str]) -> dict[str, str]:
    """What must be the same in a fork as in the server."""
    return {name: value for name, value in environment.items() if name not in OWN_VARIABLES}


def _stand_alone(descriptors: Sequence[int]) -> None:
    """Be in a session of its own, as a process that a manager of processes starts; end with the server."""
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    gc.enable()


def _set_title(title: str) -> None:
    """Set what ``ps`` shows; in the server, too: a fork that has changed its environment before cannot."""
    from setproctitle import setproctitle

    setproctitle(title)


def run(request: Request) -> None:
    """Run a command of this interpreter in this process: a module, or a script of its folder."""
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    # It was looked up with the variables of the server.
    tempfile.tempdir = None
    _set_title(" ".join(request.argv))
    command, *arguments = request.argv
    if command == "python" and arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [str(Path(sys.executable).with_name(command)), *arguments]
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    run(Server(Path(os.environ[SOCKET_SETTING])).serve())
