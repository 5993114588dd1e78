"""The fork server: imports Airflow once, and is forked for each of Airflow's services on the local engine.

Each of Airflow's services imports the same 2,000 modules: 2 s of CPU and 150 MB. The server imports them
once. The process of a service (``windtunnel.local.fork_client``) asks it for a fork that becomes the service,
then passes on signals one way and the exit status the other. If the server cannot help, that process becomes
the service itself.

The server imports when the first client comes: Airflow's settings need the secrets, which are there once a
service asks.

Runs in Airflow's venv, as a process beside the services.
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

from windtunnel.local.fork_client import NUMBER, SOCKET_VARIABLE, send

# What all services import, and can be imported in a process that is to be forked: it starts no threads.
MODULES = (
    "airflow.cli.cli_parser",
    # The web server's, and by dag-processor and triggerer called without one.
    "airflow.api_fastapi.execution_api.app",
    "airflow.cli.commands.api_server_command",
)

# What a start of the stack waits for longest: it does not wait for imports that it does not need.
FIRST = "api-server"

# Variables in which services differ and that Airflow does not read while it is imported.
OWN_VARIABLES = frozenset({"HOME", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_", "WINDTUNNEL_STARTED"})

# How long a client may take to send its request, in seconds: it sends it in one go.
PATIENCE = 5.0

# prctl(2): the signal that a process gets when its parent ends.
PR_SET_PDEATHSIG = 1

# Begins a line of the log that ``status`` and ``doctor`` show, too.
WARNING = "fork server: warning: "


@dataclass
class Client:
    """A process that waits for a fork, and what that fork is to be."""

    connection: socket.socket
    streams: list[int]
    argv: list[str]
    folder: str
    environment: dict[str, str]

    def close_streams(self) -> None:
        """Close them in this process: a fork that was given them keeps them."""
        for stream in self.streams:
            os.close(stream)


def import_airflow() -> None:
    """Import what all services need, and let Airflow's execution API speak only its newest version."""
    for name in MODULES:
        importlib.import_module(name)
    speak_newest_version_only()


def speak_newest_version_only() -> None:
    """Drop the older versions of the execution API, by which tasks talk to Airflow.

    Airflow's web server builds the routes of all nine before it answers a task: 2.5 s and 40 MB. All that
    talks to it on this engine comes from the same venv, so speaks the newest version. Another release of
    Airflow or cadwyn may lack the names that this needs: then all versions stay, and a warning says so.
    """
    try:
        from airflow.api_fastapi.execution_api.routes import execution_api_router
        from airflow.api_fastapi.execution_api.versions import bundle
        from cadwyn.route_generation import _DELETED_ROUTE_TAG

        newest = bundle.versions[:1]
        routes = execution_api_router.routes
    except (ImportError, AttributeError) as error:
        sys.stderr.write(f"{WARNING}the web server starts 2.5 s later, with old API versions: {error}\n")
        return
    bundle.versions = newest
    # Routes for older versions only: cadwyn requires that each route is in some version.
    execution_api_router.routes = [
        route for route in routes if _DELETED_ROUTE_TAG not in getattr(route, "tags", ())
    ]


def import_for_tasks() -> None:
    """Import what the checkout's own Airflow settings import in the scheduler, for its tasks."""
    importlib.import_module("airflow_local_settings").preload()


class Server:
    """Forks itself for each client, and reports to the client how its fork ended."""

    def __init__(self, path: Path) -> None:
        """Listen; nothing is imported yet.

        :param path: of the socket.
        """
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen()
        # When a fork ends, the signal's number arrives here, so one place waits for everything.
        self._woken, self._wake = socket.socketpair()
        self._waiting: list[Client] = []
        # By the process of the fork.
        self._clients: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)

    def serve(
        self, first: Callable[[], None] = import_airflow, then: Callable[[], None] = import_for_tasks
    ) -> Client:
        """Import, then fork for each client. Returns only in the forks.

        :param first: imports what all need.
        :param then: imports what ``FIRST`` does not need.
        :return: the client that this fork serves.
        """
        self._selector.select()
        _set_title("airflow fork server")
        # Nothing that is imported is garbage. Once frozen it is never examined, so its pages stay shared.
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
            # Another config folder may lack it. It saves time, and nothing depends on it.
            traceback.print_exc()
        gc.freeze()
        return self._go_on()

    def _go_on(self) -> Client:
        for end in (self._woken, self._wake):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # A fork may have ended before.
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
        """Return the next client, if there is one that a fork can serve."""
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
            if not (others := differing(client.environment, os.environ)):
                return client
            sys.stderr.write(f"fork server: {' '.join(client.argv)} differs in {', '.join(others)}\n")
            connection.sendall(NUMBER.pack(0))
        except (OSError, ValueError, TypeError, struct.error) as error:
            sys.stderr.write(f"fork server: a client is refused: {error}\n")
        for stream in streams:
            os.close(stream)
        return None

    def _fork(self, client: Client) -> bool:
        """Fork, and return whether this process is the fork."""
        self._waiting.remove(client)
        pid = os.fork()
        if pid == 0:
            self._leave(client)
            return True
        client.close_streams()
        self._clients[pid] = client.connection
        self._selector.register(client.connection, selectors.EVENT_READ, pid)
        # A client that is gone already is noticed later, as abandoned.
        with contextlib.suppress(OSError):
            client.connection.sendall(NUMBER.pack(pid))
        return False

    def _leave(self, client: Client) -> None:
        """Make a fork a process of its own, which ends when the server ends."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for one in (client.connection, self._listener, self._woken, self._wake, *self._clients.values()):
            one.close()
        for other in self._waiting:
            other.connection.close()
            other.close_streams()
        # Linux shares the cores among sessions first (sched(7), autogroup). In a session of its own, the web
        # server has a core to itself while all the others start.
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
        """End a fork whose client is gone."""
        if pid in self._clients:
            self._selector.unregister(self._clients[pid])
            send(pid, signal.SIGKILL)


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that must be the same in a fork as in the server, and are not."""
    names = (one.keys() | other.keys()) - OWN_VARIABLES
    return sorted(name for name in names if one.get(name) != other.get(name))


def _set_title(title: str) -> None:
    """Set what ``ps`` shows. The server does so, too: a fork that has changed its variables before cannot."""
    from setproctitle import setproctitle

    setproctitle(title)


def run(client: Client) -> None:
    """Run a command in this process: a module, or a script of the interpreter's folder."""
    os.chdir(client.folder)
    os.environ.clear()
    os.environ.update(client.environment)
    # It was found with the server's variables.
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
    run(Server(Path(os.environ[SOCKET_VARIABLE])).serve())
