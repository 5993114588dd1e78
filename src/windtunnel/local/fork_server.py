"""The fork server: imports Airflow once, and is forked for each of Airflow's services on the local engine.

Each of them imports the same 2,000 modules: 2 s of CPU and 150 MB. A service's own process
(``windtunnel.local.fork_client``) asks the server for a fork that becomes the service, then passes signals on
and the exit status back. If the server cannot help, that process becomes the service itself.

The server imports when the first client comes: Airflow's settings need the secrets, which are there once a
service asks. It runs in Airflow's venv, as a process beside the services.
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

# What all services import and is safe in a process that is to be forked: it starts no threads.
MODULES = (
    "airflow.cli.cli_parser",
    # Of the web server; dag-processor and triggerer call it without one.
    "airflow.api_fastapi.execution_api.app",
    "airflow.cli.commands.api_server_command",
)

# A start of the stack waits longest for this service, so it does not wait for imports that it does not need.
FIRST = "api-server"

# Variables in which services differ and that Airflow does not read while it is imported.
OWN_VARIABLES = frozenset({"HOME", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_", "WINDTUNNEL_STARTED"})

# How long a client may take to send its request, in seconds: it sends it in one go.
PATIENCE = 5.0
# prctl(2): the signal that a process gets when its parent ends.
PR_SET_PDEATHSIG = 1
# The beginning of a line of the log that ``status`` and ``doctor`` show, too.
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
        """Close them in this process; its fork keeps them."""
        for stream in self.streams:
            os.close(stream)


def import_airflow() -> None:
    """Import what all services need, and let Airflow's execution API speak only its newest version."""
    for name in MODULES:
        importlib.import_module(name)
    speak_newest_version_only()


def speak_newest_version_only() -> None:
    """Drop the older versions of the execution API, by which tasks talk to Airflow.

    Airflow's web server builds the routes of all nine before it answers a task: 2.5 s and 40 MB. On this
    engine all its clients come from the same venv, so they speak the newest version. If another release of
    Airflow or cadwyn lacks the names that this needs, all versions stay, and a warning says so.
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
    # Cadwyn requires that each route is in some version, so routes of older versions go, too.
    kept = [route for route in routes if _DELETED_ROUTE_TAG not in getattr(route, "tags", ())]
    execution_api_router.routes = kept


def import_for_tasks() -> None:
    """Import what the checkout's Airflow settings import in the scheduler, for its tasks."""
    importlib.import_module("airflow_local_settings").preload()


class Server:
    """Forks itself for each client, and reports to the client how its fork ended."""

    def __init__(self, path: Path) -> None:
        """Listen on the socket of that path; nothing is imported yet."""
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen()
        # The number of the signal arrives here when a fork ends, so one place waits for everything.
        self._woken, self._wake = socket.socketpair()
        self._waiting: list[Client] = []
        # By process id of the fork.
        self._clients: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)

    def serve(
        self, first: Callable[[], None] = import_airflow, then: Callable[[], None] = import_for_tasks
    ) -> Client:
        """Import, then fork for each client. Return only in a fork, with the client that it serves.

        :param first: imports what all need.
        :param then: imports what ``FIRST`` does not need.
        """
        self._selector.select()
        _set_title("airflow fork server")
        # What is imported is never garbage. Once it is frozen nothing examines it, so its pages stay shared.
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
            # Another config folder may lack it. It only saves time.
            traceback.print_exc()
        gc.freeze()
        return self._go_on()

    def _go_on(self) -> Client:
        for end in (self._woken, self._wake):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # A fork may have ended before that.
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
        # If the client is gone already, its fork is found abandoned later.
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
        # Linux shares the cores among sessions first (sched(7), autogroup): in a session of its own, the web
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
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
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
    """Return the names of the variables that a fork and the server must share, and do not."""
    names = (one.keys() | other.keys()) - OWN_VARIABLES
    return sorted(name for name in names if one.get(name) != other.get(name))


def _set_title(title: str) -> None:
    """Set what ``ps`` shows, first in the server: a fork that changed its variables before that could not."""
    from setproctitle import setproctitle

    setproctitle(title)


def run(client: Client) -> None:
    """Run the client's command in this process: a module, or a script of the interpreter's folder."""
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
