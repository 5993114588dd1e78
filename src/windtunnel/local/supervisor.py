"""supervisord, which starts the processes of a stack and starts them again if they end."""

import contextlib
import hashlib
import json
import math
import os
import re
import shlex
import signal
import sys
import xmlrpc.client
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

from windtunnel.local import composefile, logs, processes
from windtunnel.local.definitions import FORK_SERVER, Definition
from windtunnel.local.fork_client import SOCKET_VARIABLE
from windtunnel.local.fork_server import WARNING
from windtunnel.local.layout import Layout
from windtunnel.stack.base import Stack
from windtunnel.stack.command import COMMAND
from windtunnel.stack.commands import tail
from windtunnel.stack.errors import Finding, StackError
from windtunnel.stack.service import Service
from windtunnel.waiting import WaitTimeout, wait_until

# How long a service may take to stop, in seconds: Compose's default.
STOP_GRACE_PERIOD = 10.0

# A service that ends earlier than this after its start, in seconds, is started again after a pause that grows
# by a second each time, and given up after so many times. One that ran longer is started again at once.
STABLE_AFTER = 10
TRIES = 20

# A log is moved aside at this size, in bytes; one such is kept.
MAX_LOG = 20_000_000

# The address of a Unix socket has at most 107 bytes (unix(7)); at first supervisord appends a process id.
MAX_SOCKET = 96

# At SIGINT, Postgres does not wait for its clients. Everything else is stopped by SIGTERM.
STOP_SIGNALS = {"postgres": "INT"}

RPC_INTERFACE = "supervisor.rpcinterface:make_main_rpcinterface"

# supervisord's states in Docker's words.
STATES = {
    "STARTING": "running",
    "RUNNING": "running",
    "STOPPING": "running",
    "BACKOFF": "restarting",
    "FATAL": "dead",
}

NOT_FORKED = "the fork server does not work: services import Airflow one by one, so a start is slower"


class _Transport(SupervisorTransport):  # type: ignore[misc]
    """A connection for each call, closed at its end."""

    def request(self, *arguments: Any, **options: Any) -> Any:
        """Call supervisord."""
        try:
            return super().request(*arguments, **options)
        finally:
            self.close()


class Supervisor:
    """The supervisord of one stack."""

    def __init__(self, layout: Layout) -> None:
        """Start nothing yet."""
        self._layout = layout

    @property
    def calls(self) -> Any:
        """Its own interface; a call raises OSError if it does not answer."""
        transport = _Transport(None, None, f"unix://{self._layout.socket}")
        return xmlrpc.client.ServerProxy("http://supervisor", transport=transport).supervisor

    def answers(self) -> bool:
        """Whether it runs."""
        try:
            return bool(self.calls.getState())
        except (OSError, xmlrpc.client.Error):
            return False

    def processes(self) -> dict[str, dict[str, Any]] | None:
        """Return what it says of each process, by label; None if it does not answer."""
        try:
            return {info["name"]: info for info in self.calls.getAllProcessInfo()}
        except (OSError, xmlrpc.client.Error):
            return None

    def state(self, label: str) -> str:
        """Return a process's state in Docker's words; ``exited`` also if supervisord does not answer."""
        return _state((self.processes() or {}).get(label, {}))

    def have_stopped(self, labels: Iterable[str]) -> bool:
        """Whether none of these processes runs or is about to."""
        found = self.processes() or {}
        return not any(_state(found.get(label, {})) == "running" for label in labels)

    def call(self, method: str, label: str, *arguments: Any) -> None:
        """Let it do something with a process, unless that is done already.

        :raises StackError: if it refuses or does not answer.
        """
        try:
            getattr(self.calls, method)(label, *arguments)
        except xmlrpc.client.Fault as fault:
            if not re.match(r"ALREADY_STARTED|NOT_RUNNING|BAD_NAME|STILL_RUNNING", fault.faultString):
                raise StackError(f"supervisord: {fault.faultString}", tail(self._log())) from fault
        except OSError as error:
            what = f"supervisord does not answer: {error}"
            raise StackError(what, tail(self._log()), f"{COMMAND} up") from error

    def update(self) -> None:
        """Let it know of changed settings; the processes that they concern are stopped first.

        The fork server is the last of them: its forks end with it, as if they were killed.
        """
        ((added, changed, removed),) = self.calls.reloadConfig()
        # All at the same time, as each may take its whole grace period; after that it is killed.
        for label in removed:
            self.call("stopProcess", label, False)
        wait_until(f"{', '.join(removed)} to stop", partial(self.have_stopped, removed), timeout=math.inf)
        for label in sorted([*changed, *removed], key=lambda label: bool(label == FORK_SERVER)):
            self.call("stopProcess", label)
            self.call("removeProcessGroup", label)
        for label in [*changed, *added]:
            self.call("addProcessGroup", label)

    def start(self, stack: Stack) -> None:
        """Start it; it starts no process by itself.

        :raises StackError: with its last words.
        """
        command = [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(self._file)]
        temporary = processes.temporary_folder(self._layout.run, "supervisord")
        temporary.mkdir(parents=True, exist_ok=True)
        path = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(stack.root / "src")}
        variables = {**path, "HOME": str(temporary), "TMPDIR": str(temporary)}
        stack.run(*command, what="starting supervisord", env=variables)
        try:
            wait_until("supervisord to answer", self.answers, timeout=20)
        except WaitTimeout as error:
            raise StackError(str(error), tail(self._log()), f"See {COMMAND} doctor.") from error

    def start_fork_server(self) -> None:
        """Start the fork server and wait until it listens; services go on without it if it does not."""
        self.call("startProcess", FORK_SERVER, False)

        def is_decided() -> bool:
            return self._layout.fork_server_socket.exists() or self.state(FORK_SERVER) != "running"

        with contextlib.suppress(WaitTimeout):
            wait_until("the fork server to listen", is_decided, timeout=5, interval=0.02)

    def fork_warnings(self, variables: Iterable[Mapping[str, str]]) -> list[Finding]:
        """Return what the fork server cannot do for the services with these variables, which are ready."""
        if not any(SOCKET_VARIABLE in each for each in variables):
            return []
        said = logs.lines(self._layout, FORK_SERVER)
        found = [line.removeprefix(WARNING) for line in said if line.startswith(WARNING)]
        children = []
        with contextlib.suppress(KeyError, psutil.NoSuchProcess):
            children = psutil.Process((self.processes() or {})[FORK_SERVER]["pid"]).children()
        if not children:
            found.append(NOT_FORKED)
        return [Finding(what, f"Its log: {COMMAND} logs {FORK_SERVER}") for what in dict.fromkeys(found)]

    def stop(self) -> None:
        """Let it end, and wait for that.

        :raises WaitTimeout: if it does not.
        """
        pid = self.calls.getPID()
        # When it ends, it looks once in a second whether a process has ended.
        self.call("stopProcess", FORK_SERVER)
        self.calls.shutdown()
        wait_until("supervisord to end", lambda: not processes.is_alive(pid), timeout=STOP_GRACE_PERIOD)

    def require_usable_path(self) -> None:
        """Raise StackError if its settings or its socket cannot have this path."""
        if "%" in str(self._layout.folder):
            what = (
                f"the path {self._layout.folder} holds a %, with which supervisord begins its own variables"
            )
            raise StackError(what, next_step="Move the checkout.")
        if len(os.fsencode(self._layout.socket)) > MAX_SOCKET:
            what = f"the path of {self._layout.socket} is too long for a Unix socket ({MAX_SOCKET} bytes)"
            raise StackError(what, next_step="Move the checkout to a folder with a shorter path.")

    @property
    def log_file(self) -> Path:
        """The file of its own log."""
        return self._layout.run / "supervisord.log"

    def _log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def seen(self, service: Service, info: Mapping[str, Any] | None) -> Service:
        """Return a service as it is now, by what supervisord says of its process; None if that is unknown."""
        if info is None or (info["statename"] == "STOPPED" and not info["start"]):
            return service
        # How it has ended by itself, each time: "exit status 1".
        ends = re.findall(rf" exited: {re.escape(service.label)} \(([^;)]*)", self._log())
        return replace(
            service,
            id=str(info["pid"]),
            state=_state(info),
            exit_code=_exit_code(info, ends[-1] if ends else ""),
            started_at=str(info["start"]),
            restarts=0 if service.one_shot else len(ends),
        )

    @property
    def _file(self) -> Path:
        return self._layout.run / "supervisord.conf"

    def configure(
        self, definitions: Mapping[str, Definition], services: Mapping[str, Any], fingerprints: Iterable[str]
    ) -> None:
        """Write its settings.

        :param definitions: of each process, by label.
        :param services: of each process, the service's part of the compose file.
        :param fingerprints: what the venvs were made from; after a change, every process is started again.
        """
        run = self._layout.run
        sections: dict[str, dict[str, Any]] = {
            "unix_http_server": {"file": self._layout.socket, "chmod": "0700"},
            "rpcinterface:supervisor": {"supervisor.rpcinterface_factory": RPC_INTERFACE},
            "supervisord": {
                "logfile": self.log_file,
                "logfile_backups": 1,
                "pidfile": run / "supervisord.pid",
                "childlogdir": run / "logs",
                # As root it asks for that.
                **({"user": "root"} if os.geteuid() == 0 else {}),
            },
        }
        made_from = list(fingerprints)
        for label, definition in definitions.items():
            made = json.dumps([definition, made_from], sort_keys=True)
            digest = hashlib.sha256(made.encode()).hexdigest()[:12]
            sections[f"program:{label}"] = self._program(label, services[label], digest)
        text = ""
        for section, options in sections.items():
            # supervisord fills in %(name)s.
            lines = [f"{key}={value}".replace("%", "%%") for key, value in options.items()]
            text += "\n".join([f"[{section}]", *lines, "\n"])
        self._file.write_text(text)

    def _program(self, label: str, service: Mapping[str, Any], digest: str) -> dict[str, Any]:
        """Return a process's settings. A changed definition has another digest: so supervisord notices it."""
        module = [sys.executable, "-P", "-m", "windtunnel.local.processes"]
        one_shot = composefile.is_one_shot(service)
        return {
            "command": shlex.join([*module, str(self._layout.run), label, digest]),
            "autostart": "false",
            "autorestart": "false" if one_shot else "true",
            "startsecs": 0 if one_shot else STABLE_AFTER,
            "startretries": 0 if one_shot else TRIES,
            "stopsignal": STOP_SIGNALS.get(label, "TERM"),
            "stopwaitsecs": round(grace_period(service)),
            "killasgroup": "true",
            "stdout_logfile": self._layout.log(label),
            "stdout_logfile_maxbytes": MAX_LOG,
            "stdout_logfile_backups": 1,
            "redirect_stderr": "true",
        }


def grace_period(service: Mapping[str, Any]) -> float:
    """Return how long a service may take to stop, in seconds, by its part of the compose file."""
    return composefile.seconds(service.get("stop_grace_period")) or STOP_GRACE_PERIOD


def _state(info: Mapping[str, Any]) -> str:
    return STATES.get(info.get("statename", ""), "exited")


def _exit_code(info: Mapping[str, Any], last: str) -> int:
    """Return the exit code of a process; if it is started again, only ``last``, from the log, has it."""
    if info["exitstatus"] or info["statename"] not in ("BACKOFF", "FATAL"):
        return int(info["exitstatus"])
    if signalled := re.match(r"terminated by (SIG\w+)", last):
        return 128 + signal.Signals[signalled[1]]
    return int(last.split()[-1]) if last.startswith("exit status") else 0
