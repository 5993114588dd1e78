"""Airflow is imported once for all services of the local engine, which are forked from that process.

Each of Airflow's services imports the same 2,000 modules: 2 s of CPU and 150 MB. A server imports them once.
The process of a service (``windtunnel.local.fork_client``) asks it for a fork that becomes the service, and
stands in for that: it passes on signals one way and the exit status the other. Where the server cannot
help, it becomes the service itself.

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
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from windtunnel.local.fork_client import NUMBER, SOCKET_SETTING, send

# What all services import, and can be imported in a process that is to be forked: it starts no threads.
MODULES = (
    "airflow.cli.cli_parser",
    # The web server's, and by dag-processor and triggerer called without one.
    "airflow.api_fastapi.execution_api.app",
    "airflow.cli.commands.api_server_command",
)

# What a start of the stack waits for longest: this one is not kept waiting for what it does not need.
FIRST = "api-server"

# Variables in which services differ and that Airflow does not read while it is imported.
OWN_VARIABLES = frozenset({"HOME", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_", "WINDTUNNEL_STARTED"})

# So long a client may take to say what it wants, in seconds: it says it in one go.
PATIENCE = 5.0

# prctl(2): the signal that a process gets when its parent ends.
PR_SET_PDEATHSIG = 1


@dataclass
class Client:
    """Who waits for a fork, and what that is to be."""

    connection: socket.socket
    streams: list[int]
    argv: list[str]
    folder: str
    environment: dict[str, str]

    def close_streams(self) -> None:
        """Of this process: whoever was given them keeps them."""
        for stream in self.streams:
            os.close(stream)


def import_airflow() -> None:
    """Import what all services need, and let Airflow's execution API speak its newest version alone."""
    for name in MODULES:
        importlib.import_module(name)
    speak_newest_version_only()


def speak_newest_version_only() -> None:
    """Drop the older versions of the execution API, by which tasks talk to Airflow.

    Airflow's web server builds the routes of all nine before it answers a task: 2.5 s and 40 MB. All that
    talks to it on this engine is of the same environment, so of the newest version.
    """
    from airflow.api_fastapi.execution_api.routes import execution_api_router
    from airflow.api_fastapi.execution_api.versions import bundle
    from cadwyn.route_generation import _DELETED_ROUTE_TAG

    bundle.versions = bundle.versions[:1]
    # Routes that are there for older versions only: cadwyn wants each to be in one.
    execution_api_router.routes = [
        route for route in execution_api_router.routes if _DELETED_ROUTE_TAG not in getattr(route, "tags", ())
    ]


def import_for_tasks() -> None:
    """Import what the checkout's own settings of Airflow want to be there in the scheduler, for its tasks."""
    importlib.import_module("airflow_local_settings").preload()


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
        self._waiting: list[Client] = []
        # By the process of the fork.
        self._clients: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)

    def serve(
        self,
        first: Callable[[], None] = import_airflow,
        then: Callable[[], None] = import_for_tasks,
    ) -> Client:
        """Import, then fork for each client. Returns in the forks alone.

        :param first: imports what all need.
        :param then: imports what ``FIRST`` can do without.
        :return: for whom this fork is.
        """
        self._selector.select()
        _set_title("airflow preload")
        # Nothing of what is imported is garbage; frozen, it is never looked at, so its pages stay shared.
        gc.disable()
        first()
        gc.freeze()
        self._listener.setblocking(False)
        while (client := self._accept()) is not None:
            self._waiting.append(client)
        for client in [client for client in self._waiting if FIRST in client.argv]:
            if self._fork(client):
                return client
        try:
            then()
        except Exception:
            # Another config folder may have none of that. It saves time, and nothing depends on it.
            traceback.print_exc()
        gc.freeze()
        return self._go_on()

    def _go_on(self) -> Client:
        for end in (self._woken, self._wake):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # One may have ended before.
        self._reap()
        while True:
            for client in list(self._waiting):
                if self._fork(client):
                    return client
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._waiting += filter(None, [self._accept()])
                elif key.fileobj is self._woken:
                    self._woken.recv(4096)
                    self._reap()
                else:
                    self._abandoned(key.data)

    def _accept(self) -> Client | None:
        """The next client, if there is one whom a fork can serve."""
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return None
        connection.settimeout(PATIENCE)
        streams: list[int] = []
        try:
            data, streams, *_ = socket.recv_fds(connection, NUMBER.size, 3)
            (length,) = NUMBER.unpack(data)
            with connection.makefile("rb") as text:
                client = Client(connection, streams, *json.loads(text.read(length)))
            if shared(client.environment) == shared(os.environ):
                return client
            connection.sendall(NUMBER.pack(0))
        except (OSError, ValueError, TypeError, struct.error) as error:
            sys.stderr.write(f"preload: a client is left alone: {error}\n")
        for stream in streams:
            os.close(stream)
        return None

    def _fork(self, client: Client) -> bool:
        """Fork; whether this is the fork."""
        self._waiting.remove(client)
        pid = os.fork()
        if pid == 0:
            self._leave(client)
            return True
        client.close_streams()
        self._clients[pid] = client.connection
        self._selector.register(client.connection, selectors.EVENT_READ, pid)
        # Who is gone already is found abandoned.
        with contextlib.suppress(OSError):
            client.connection.sendall(NUMBER.pack(pid))
        return False

    def _leave(self, client: Client) -> None:
        """Be a process of its own that ends with the server; in a fork."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for one in (client.connection, self._listener, self._woken, self._wake, *self._clients.values()):
            one.close()
        for other in self._waiting:
            other.connection.close()
            other.close_streams()
        # Linux shares the cores among sessions first (sched(7), autogroup). Of its own, the web server has a
        # core to itself while all the others start.
        if FIRST in client.argv:
            os.setsid()
        else:
            os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for number, stream in enumerate(client.streams):
            os.dup2(stream, number)
        client.close_streams()
        gc.enable()

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


def _set_title(title: str) -> None:
    """Set what ``ps`` shows; in the server, too: a fork that has changed its environment before cannot."""
    from setproctitle import setproctitle

    setproctitle(title)


def run(client: Client) -> None:
    """Run a command of this interpreter in this process: a module, or a script of its folder."""
    os.chdir(client.folder)
    os.environ.clear()
    os.environ.update(client.environment)
    # It was looked up with the variables of the server.
    tempfile.tempdir = None
    _set_title(" ".join(client.argv))
    command, *arguments = client.argv
    if command == "python" and arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [str(Path(sys.executable).with_name(command)), *arguments]
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    run(Server(Path(os.environ[SOCKET_SETTING])).serve())
