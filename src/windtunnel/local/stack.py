"""The stack as processes of this machine, without Docker: the compose file's services, under supervisord.

Each container path of the compose file is found below one folder, so settings need not know where they are.
What a stack writes is in ``.windtunnel/local/PROJECT``: ``volumes/`` outlives ``down``, ``run/`` does not.
"""

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import psutil
import yaml
from expandvars import ExpandvarsException, expand
from supervisor.xmlrpc import SupervisorTransport

from windtunnel import locks
from windtunnel.local import processes, resources
from windtunnel.local.fork_client import SOCKET_SETTING
from windtunnel.local.venvs import LOCALSTACK_LIBRARY, Venvs
from windtunnel.services import probes
from windtunnel.stack import ports
from windtunnel.stack.base import IS_IT_RUNNING, Say, Stack, tail
from windtunnel.stack.errors import Finding, StackError
from windtunnel.stack.service import Service
from windtunnel.stack.settings import PORTS, Settings
from windtunnel.stack.start import Advance, Progress
from windtunnel.waiting import WaitTimeout, wait_until

# So long a service may be unhealthy after its start, and so long it may take to stop, in seconds: the compose
# file's period, and Compose's default.
START_PERIOD = 60.0
STOP_GRACE_PERIOD = 10.0

# A service that ends earlier than this after its start, in seconds, is started again after a pause that grows
# by a second each time, and given up after so many times. One that ran longer is started again at once.
STABLE_AFTER = 10
TRIES = 20

# Beside the compose file's services: what Airflow's are forked from.
PRELOAD = "preload"

# A log is moved aside at this size, in bytes; one such is kept.
MAX_LOG = 20_000_000

# The address of a Unix socket has at most 107 bytes (unix(7)); supervisord appends a process id at first.
MAX_SOCKET = 96

# Between two looks at a growing log, in seconds.
FOLLOW = 0.2

# Postgres is stopped by SIGINT, at which it does not wait for its clients; everything else by SIGTERM.
STOP_SIGNALS = {"postgres": "INT"}

# supervisord's states in Docker's words.
STATES = {
    "STARTING": "running",
    "RUNNING": "running",
    "STOPPING": "running",
    "BACKOFF": "restarting",
    "FATAL": "dead",
}

SERVICES_BY_PORT = {str(port.number): service for service, port in PORTS.items()}

# An address of one of these services; another host's is the user's business.
ADDRESS = re.compile(
    rf"(?<![\w.-])(?:{'|'.join(PORTS)}|localhost|0\.0\.0\.0):({'|'.join(SERVICES_BY_PORT)})\b"
)

# What a path inside the containers begins with.
CONTAINER_PATH = re.compile(r"(?<![\w./])/(?=(?:opt|run|var|etc)/)")


class ProcessStack(Stack):
    """The stack of one project as processes."""

    engine = "local"

    def __init__(self, settings: Settings) -> None:
        """Start nothing yet."""
        super().__init__(settings)
        self.venvs = Venvs(self)
        # While a start is watched.
        self._watch: _Watch | None = None

    @property
    def project(self) -> str:
        """The project's name, by Compose's own rule."""
        return self.settings.project

    # Where things are

    @property
    def folder(self) -> Path:
        """Everything that this stack writes."""
        return self.state_folder / "local" / self.project

    @property
    def run_folder(self) -> Path:
        """What is there while the stack runs."""
        return self.folder / "run"

    @property
    def _socket(self) -> Path:
        return self.run_folder / "supervisor.sock"

    @property
    def _preload_socket(self) -> Path:
        return self.run_folder / "preload.sock"

    def _place(self, container_path: str) -> Path:
        """Where a path of the containers is here."""
        return self.run_folder / "root" / container_path.lstrip("/")

    @property
    def _database_folder(self) -> Path:
        return self._place("/var/lib/postgresql/data").resolve()

    def _log(self, service: str) -> Path:
        return self.run_folder / "logs" / f"{service}.log"

    # What the compose file says

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """The compose file with every variable filled in, as far as this engine reads it.

        :raises StackError: when a file cannot be read or a variable is missing.
        """
        merged: dict[str, Any] = {}
        own = {"COMPOSE_PROJECT_NAME": self.project}
        variables = {**self.settings.file, **self.settings.variables, **own}
        for file in self.settings.compose_files():
            try:
                content = yaml.safe_load(file.read_text())
                merged = _merged(merged, _in_long_form(_interpolated(content or {}, variables)))
            except (OSError, yaml.YAMLError, ExpandvarsException) as error:
                raise StackError(
                    f"{file} cannot be used: {error}", next_step="Correct the file or the variable."
                ) from error
        return {**merged, "name": self.project}

    def variables(self, service: str) -> Mapping[str, str]:
        """The whole environment of a service: nothing is inherited from this shell, as in a container."""
        return self._definition(service, self._ports())["environment"]  # type: ignore[no-any-return]

    def _definition(self, name: str, chosen: Mapping[str, int]) -> dict[str, Any]:
        """What ``local_process`` starts: command, environment, folder."""
        service = self.configuration["services"][name]
        image = "postgres" if name == "postgres" else str(service.get("image", "")).rpartition("-")[2]
        if image not in ("postgres", "airflow", "localstack"):
            raise StackError(
                f"the service {name} runs the image {service.get('image')}",
                next_step="The local engine has no images: use --engine compose, or leave that file out.",
            )
        given = {key: self._translated(value, chosen) for key, value in self._given(service).items()}
        own = {"postgres": self._postgres, "airflow": self._airflow, "localstack": self._localstack}[image](
            chosen
        )
        temporary = processes.temporary_folder(self.run_folder, name)
        common = {"HOME": str(temporary), "TMPDIR": str(temporary), "LANG": "C.UTF-8"}
        words = [*_words(service.get("entrypoint", []))[1:], *_words(service.get("command", []))]
        listening = self._listening(chosen) if image == "postgres" else []
        return {
            "command": [str(self._place("/entrypoint.sh")), *words, *listening],
            "environment": {**common, **given, **own},
            "folder": str(temporary),
        }

    def _given(self, service: Mapping[str, Any]) -> dict[str, str]:
        """The environment of the compose file: a name without a value has that of this shell."""
        values = {
            key: self.settings.get(key) if value is None else value
            for key, value in service["environment"].items()
        }
        return {
            key: str(value).lower() if isinstance(value, bool) else str(value)
            for key, value in values.items()
        }

    def _translated(self, value: str, chosen: Mapping[str, int]) -> str:
        """A value of the compose file with the addresses and paths that hold here."""
        value = ADDRESS.sub(lambda found: f"127.0.0.1:{chosen[SERVICES_BY_PORT[found[1]]]}", value)
        return CONTAINER_PATH.sub(f"{self.run_folder}/root/", value)

    # What an image's ENV is for a container.

    def _airflow(self, chosen: Mapping[str, int]) -> dict[str, str]:
        home = self._place("/opt/airflow")
        return {
            "PATH": _path(self.venvs.python("airflow").parent),
            "PYTHONPATH": f"{home}:{self._place('/opt/windtunnel')}",
            # The folders of users are not written to.
            "PYTHONDONTWRITEBYTECODE": "1",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_CONFIG": str(home / "config" / "airflow.cfg"),
            # So that a traceback shows where a file really is.
            "AIRFLOW__CORE__DAGS_FOLDER": str((home / "dags").resolve()),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(chosen["webserver"]),
            SOCKET_SETTING: str(self._preload_socket),
        }

    def _preload(self, service: Mapping[str, Any]) -> dict[str, Any]:
        """The process that Airflow's services are forked from, as one of them but for its folder."""
        folder = str(processes.temporary_folder(self.run_folder, PRELOAD))
        return {
            "command": [service["command"][0], PRELOAD],
            "environment": {**service["environment"], "HOME": folder, "TMPDIR": folder},
            "folder": folder,
        }

    def _localstack(self, chosen: Mapping[str, int]) -> dict[str, str]:
        return {
            "PATH": _path(self.venvs.python("localstack").parent),
            "PYTHONPATH": str(self._place("/opt/windtunnel")),
            "LAMBDA_RUNTIME_PYTHON": str(self.venvs.python("lambda")),
            "FILESYSTEM_ROOT": str(self.run_folder / "root"),
            # It is not to look for one: this may be a container whose folders are not its own.
            "OVERRIDE_IN_DOCKER": "0",
        }

    def _postgres(self, chosen: Mapping[str, int]) -> dict[str, str]:
        return {
            "PATH": _path(self.venvs.postgres, self.root / "offline" / "postgres"),
            "PGDATA": str(self._database_folder),
            # For the health check.
            "POSTGRES_ADDRESS": f"127.0.0.1:{chosen['postgres']}",
        }

    def _listening(self, chosen: Mapping[str, int]) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": chosen["postgres"],
            "unix_socket_directories": "",
            # Below its data, where nothing is left behind; its default is /dev/shm.
            "dynamic_shared_memory_type": "mmap",
        }
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    # Ports

    def _ports(self) -> dict[str, int]:
        """Those of the running stack.

        :raises StackError: when none runs.
        """
        file = self.run_folder / "ports.json"
        if not file.exists():
            raise StackError(f"the stack {self.project} does not run", next_step="./windtunnel up")
        return dict(json.loads(file.read_text()))

    def _chosen_ports(self, say: Callable[[str], None]) -> dict[str, int]:
        """A port for each service: the set one, else the usual one, else any that is free."""
        chosen = {}
        for service, known in PORTS.items():
            port = int(self.settings.get(known.setting) or known.usual or 0)
            if self.settings.get(known.setting):
                _require_free(port, known.setting)
            elif port and ports.is_taken(port):
                by = ports.process_on(port) or "another program"
                say(f"port {port} is in use by {by}: {service} takes another")
                port = 0
            chosen[service] = port or ports.free_port()
        return chosen

    def port(self, service: str) -> int:
        """This machine's port for a service.

        :raises StackError: when the stack does not run.
        """
        return self._ports()[service]

    # supervisord

    @property
    def supervisor(self) -> Any:
        """supervisord's own interface; a call raises OSError where it does not answer."""
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        return xmlrpc.client.ServerProxy("http://supervisor", transport=transport).supervisor

    def is_there(self) -> bool:
        """Whether something of it runs, supervised or not."""
        return self.is_supervised() or bool(self.run_folder.exists() and processes.processes(self.run_folder))

    def is_supervised(self) -> bool:
        """Whether supervisord answers."""
        try:
            return bool(self.supervisor.getState())
        except (OSError, xmlrpc.client.Error):
            return False

    def _write(self, chosen: Mapping[str, int]) -> None:
        """Lay out the folder of a running stack: container paths, definitions, supervisord's settings."""
        for name in self.service_names:
            for volume in self.configuration["services"][name].get("volumes", []):
                self._mount(volume)
        for name in (*self.service_names, PRELOAD):
            processes.temporary_folder(self.run_folder, name).mkdir(parents=True, exist_ok=True)
        _link(self._place(LOCALSTACK_LIBRARY), self.venvs.service_index)
        (self.run_folder / "logs").mkdir(exist_ok=True)
        (self.run_folder / "ports.json").write_text(json.dumps(chosen))
        definitions = {name: self._definition(name, chosen) for name in self.service_names}
        # As the plainest of them: another file may give one of the others a setting of its own.
        definitions[PRELOAD] = self._preload(definitions["init"])
        (self.run_folder / processes.SERVICES).write_text(json.dumps(definitions, indent=1))
        (self.run_folder / "supervisord.conf").write_text(self._supervisor_configuration(definitions))

    def _mount(self, volume: Mapping[str, Any] | str) -> None:
        if isinstance(volume, str):
            raise StackError(
                f"volume {volume!r}: the local engine reads the long form, with type, source and target"
            )
        target = self._place(volume["target"])
        if volume["type"] == "bind":
            source = (self.root / Path(volume["source"]).expanduser()).resolve()
        else:
            source = self.folder / "volumes" / volume["source"]
            source.mkdir(parents=True, exist_ok=True, mode=0o700)
        _link(target, source)

    def _supervisor_configuration(self, definitions: Mapping[str, Mapping[str, Any]]) -> str:
        run = self.run_folder
        sections: dict[str, dict[str, Any]] = {
            "unix_http_server": {"file": self._socket, "chmod": "0700"},
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
            },
            "supervisord": {
                "logfile": run / "supervisord.log",
                "logfile_backups": 1,
                "pidfile": run / "supervisord.pid",
                "childlogdir": run / "logs",
                # It asks for that where it is root.
                **({"user": "root"} if os.geteuid() == 0 else {}),
            },
        }
        for name, definition in definitions.items():
            sections[f"program:{name}"] = self._program(name, definition)
        return "\n".join(
            f"[{section}]\n" + "".join(f"{key}={_escaped(str(value))}\n" for key, value in options.items())
            for section, options in sections.items()
        )

    def _program(self, name: str, definition: Mapping[str, Any]) -> dict[str, Any]:
        service = self.configuration["services"].get(name, {"restart": "always"})
        # A changed definition changes the command, by which supervisord notices.
        digest = hashlib.sha256(
            json.dumps([definition, self._fingerprints], sort_keys=True).encode()
        ).hexdigest()
        command = [
            sys.executable,
            "-P",
            "-m",
            "windtunnel.local.processes",
            str(self.run_folder),
            name,
            digest[:12],
        ]
        one_shot = _is_one_shot(service)
        return {
            "command": shlex.join(command),
            "autostart": "false",
            "autorestart": "false" if one_shot else "true",
            "startsecs": 0 if one_shot else STABLE_AFTER,
            "startretries": 0 if one_shot else TRIES,
            "stopsignal": STOP_SIGNALS.get(name, "TERM"),
            "stopwaitsecs": round(_seconds(service.get("stop_grace_period")) or STOP_GRACE_PERIOD),
            "killasgroup": "true",
            "stdout_logfile": self._log(name),
            "stdout_logfile_maxbytes": MAX_LOG,
            "stdout_logfile_backups": 1,
            "redirect_stderr": "true",
        }

    @cached_property
    def _fingerprints(self) -> list[str]:
        return [self.venvs.fingerprint(name) for name in ("airflow", "localstack", "lambda", "postgres")]

    def _start_supervisor(self) -> None:
        command = [
            sys.executable,
            "-P",
            "-m",
            "supervisor.supervisord",
            "-c",
            str(self.run_folder / "supervisord.conf"),
        ]
        temporary = processes.temporary_folder(self.run_folder, "supervisord")
        temporary.mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(self.root / "src"),
            "HOME": str(temporary),
            "TMPDIR": str(temporary),
        }
        self.run(*command, what="starting supervisord", env=environment)
        try:
            wait_until("supervisord to answer", self.is_supervised, timeout=20)
        except WaitTimeout as error:
            raise StackError(str(error), self._own_log(), "See ./windtunnel doctor.") from error

    def _start_preload(self) -> None:
        """Start it before the services, which go on without it where it is not there."""
        self._call("startProcess", PRELOAD, False)
        with contextlib.suppress(WaitTimeout):
            wait_until(
                "the preload to listen",
                self._preload_decided,
                timeout=5,
                interval=0.02,
                retry_on=(OSError, xmlrpc.client.Error),
            )

    def _preload_decided(self) -> bool:
        state = self.supervisor.getProcessInfo(PRELOAD)["statename"]
        return self._preload_socket.exists() or state not in ("STARTING", "RUNNING")

    def _own_log(self) -> str:
        file = self.run_folder / "supervisord.log"
        return tail(file.read_text(errors="replace")) if file.exists() else ""

    # What there is

    def services(self) -> list[Service]:
        """Every service of the compose file, each healthy or not as of now."""
        names = self.service_names
        if not self.run_folder.exists():
            return [Service(name, one_shot=self._is_one_shot(name)) for name in names]
        try:
            found = {info["name"]: info for info in self.supervisor.getAllProcessInfo()}
        except (OSError, xmlrpc.client.Error):
            return [self._unsupervised(name) for name in names]
        with ThreadPoolExecutor(len(names)) as pool:
            return list(pool.map(lambda name: self._service(name, found.get(name)), names))

    def _is_one_shot(self, name: str) -> bool:
        return _is_one_shot(self.configuration["services"][name])

    def _unsupervised(self, name: str) -> Service:
        """A service of a stack whose supervisord was killed."""
        left = bool(processes.processes(self.run_folder, name))
        return Service(name, state="unsupervised" if left else "absent", one_shot=self._is_one_shot(name))

    def _service(self, name: str, info: Mapping[str, Any] | None) -> Service:
        if info is None or (info["statename"] == "STOPPED" and not info["start"]):
            return Service(name, one_shot=self._is_one_shot(name))
        service = Service(
            name=name,
            id=str(info["pid"]),
            state=STATES.get(info["statename"], "exited"),
            exit_code=info["exitstatus"] or self._exit_code(info),
            one_shot=self._is_one_shot(name),
            started_at=str(info["start"]),
            restarts=self._restarts(name),
        )
        if service.state != "running" or name not in probes.PROBES:
            return service
        probe = partial(self._probed, service, float(info["start"]))
        return self._watch.look(service, probe) if self._watch else probe()

    def _probed(self, service: Service, started: float) -> Service:
        now = time.time()
        try:
            probes.PROBES[service.name](self.variables(service.name), started)
        except Exception as unhealthy:  # whatever it is, in a container it would be an exit code and a text
            definite = isinstance(unhealthy, probes.Broken)
            late = definite or now - started > START_PERIOD
            word = "unhealthy" if late else "starting"
            return replace(
                service, health=word, probed_at=str(now), health_output=str(unhealthy), definite=definite
            )
        return replace(service, health="healthy", probed_at=str(now))

    def _restarts(self, name: str) -> int:
        """How often it has ended by itself."""
        return 0 if self._is_one_shot(name) else len(self._ends(name))

    def _ends(self, name: str) -> list[str]:
        """How it has ended by itself, each time, by supervisord's log: ``exit status 1``."""
        file = self.run_folder / "supervisord.log"
        text = file.read_text(errors="replace") if file.exists() else ""
        return re.findall(rf" exited: {re.escape(name)} \(([^;)]*)", text)

    def _exit_code(self, info: Mapping[str, Any]) -> int:
        """The last one of a service that is to be started again or is given up: supervisord tells none."""
        ends = self._ends(info["name"]) if info["statename"] in ("BACKOFF", "FATAL") else []
        if ends and (signalled := re.match(r"terminated by (SIG\w+)", ends[-1])):
            return 128 + signal.Signals[signalled[1]]
        return int(ends[-1].split()[-1]) if ends and ends[-1].startswith("exit status") else 0

    # Before a start

    def get_engine(self, say: Say) -> None:
        """Do nothing: processes need no engine."""

    def findings(self) -> Iterator[Finding]:
        """Yield what this machine lacks."""
        return resources.programs()

    def port_holder(self, service: str, port: int) -> str:
        """Return the program that listens on a port, unless it is the service itself."""
        if not ports.is_taken(port) or (self.is_there() and self.port(service) == port):
            return ""
        return ports.process_on(port) or "another program"

    def has_parts(self) -> bool:
        """Whether its venvs are there, as they are to be."""
        return not self.venvs.missing()

    def get_parts(self, say: Say, on_line: Say) -> None:
        """Install the venvs."""
        self.venvs.install(say)

    def get_test_tools(self, parts: Sequence[str], say: Say, on_line: Say) -> None:
        """Install pytest and mypy in a folder beside the venvs, which stay as they are."""
        self.venvs.install(say)
        self.venvs.install_test_tools()

    def test_command(
        self, part: str, venv: str, arguments: Sequence[str], folders: Sequence[str]
    ) -> tuple[list[str], Mapping[str, str]]:
        """Return a command of a venv's Python."""
        path = [str(self.root / folder) for folder in (*folders, "src")]
        variables = self.venvs.for_tests([*path, str(self.venvs.test_tools)])
        cache = {"MYPY_CACHE_DIR": str(self.root / ".mypy_cache" / part)}
        return [str(self.venvs.python(venv)), *arguments], variables | cache

    def ask_unstarted(self, question: str) -> Any:
        """Ask in Airflow's venv, with a home of its own."""
        if self.venvs.missing(["airflow"]):
            return None
        command = (str(self.venvs.python("airflow")), "-m", "windtunnel.services.answers", question)
        with tempfile.TemporaryDirectory() as home:
            variables = {"AIRFLOW_HOME": home, "PYTHONPATH": str(self.root / "src"), "PATH": os.defpath}
            answer = self.run(*command, what="asking Airflow", env=variables)
        return json.loads(answer.splitlines()[-1])

    def resource_findings(self) -> Iterator[Finding]:
        """Yield a lack of memory or disk."""
        return resources.memory_and_disk(self)

    # What can be done with it

    @contextlib.contextmanager
    def _starting(self, on_line: Callable[[str], None]) -> Iterator[Advance]:
        self._require_usable_path()
        self.folder.mkdir(parents=True, exist_ok=True)
        # Two starts at the same time: the second one finds the stack running.
        waiting_for = partial(on_line, "another start of this stack is under way: waiting for it")
        with locks.exclusive(self.folder / "lock", waiting_for):
            if self.is_supervised():
                self._update()
            else:
                self._remove_remains()
                self.run_folder.mkdir()
                self._write(self._chosen_ports(on_line))
                self._start_supervisor()
            self._start_preload()
            waiting = set(self.service_names)
            with _Watch(len(waiting)) as self._watch:
                try:
                    yield partial(self._go_on, waiting, self._watch)
                finally:
                    self._watch = None

    def _go_on(self, waiting: set[str], watch: "_Watch", services: Sequence[Service]) -> Progress:
        watch.know(services)
        return self._advance(services, waiting)

    def _advance(self, services: Sequence[Service], waiting: set[str]) -> Progress:
        """Start what may be started now."""
        states = {service.name: service for service in services}
        # What is only begun now has done nothing yet, whatever its state was before.
        unready = set(waiting)
        for name in sorted(waiting, key=self.service_names.index):
            needed = self.configuration["services"][name].get("depends_on", {})
            if all(
                other not in (waiting if needed[other]["condition"] == "service_started" else unready)
                and _is_met(states[other], needed[other]["condition"])
                for other in needed
            ):
                waiting.discard(name)
                # What runs already stays; a one-shot, and what an update has stopped, runs again.
                self._call("startProcess", name, False)
        return Progress(done=not waiting)

    def _call(self, method: str, name: str, *arguments: Any) -> None:
        """Ask supervisord to do something with a service; that it is so already is no failure."""
        try:
            getattr(self.supervisor, method)(name, *arguments)
        except xmlrpc.client.Fault as fault:
            if not re.match(r"ALREADY_STARTED|NOT_RUNNING|BAD_NAME|STILL_RUNNING", fault.faultString):
                raise StackError(f"supervisord: {fault.faultString}", self._own_log()) from fault
        except OSError as error:
            raise StackError(
                f"supervisord does not answer: {error}", self._own_log(), "./windtunnel up"
            ) from error

    def _update(self) -> None:
        """Let a running supervisord know of changed settings; what they concern is stopped first."""
        self._write(self._ports() | self._moved_ports())
        ((added, changed, removed),) = self.supervisor.reloadConfig()
        for name in [*changed, *removed]:
            self._call("stopProcess", name)
            self._call("removeProcessGroup", name)
        for name in [*changed, *added]:
            self._call("addProcessGroup", name)

    def _moved_ports(self) -> dict[str, int]:
        """Ports that were set otherwise since the stack was started."""
        before = self._ports()
        wanted = {service: int(self.settings.get(port.setting) or 0) for service, port in PORTS.items()}
        moved = {service: port for service, port in wanted.items() if port and port != before[service]}
        for service, port in moved.items():
            _require_free(port, PORTS[service].setting)
        return moved

    def _require_usable_path(self) -> None:
        if "%" in str(self.root):
            raise StackError(
                f"the path {self.root} holds a %, with which supervisord begins its own variables",
                next_step="Move the checkout.",
            )
        if len(os.fsencode(self._socket)) > MAX_SOCKET:
            raise StackError(
                f"the path of {self._socket} is too long for a Unix socket ({MAX_SOCKET} bytes)",
                next_step="Move the checkout to a folder with a shorter path.",
            )

    def _remove(self, volumes: bool) -> None:
        """End every process of the stack, also if supervisord was killed, and remove what it leaves."""
        if volumes:
            # Where nothing is kept, nothing needs time to stop.
            with _telling_whose_it_is():
                processes.end(self.run_folder)
        elif self.is_supervised():
            self._stop()
        self._remove_remains()
        if volumes and self.folder.exists():
            _remove_folder(self.folder)

    def _stop(self) -> None:
        """Stop what depends on others before them, each with its own patience, then supervisord."""
        left = self.service_names
        # What does not end is killed afterwards.
        with contextlib.suppress(WaitTimeout):
            while left:
                needed = set().union(*map(self.dependencies, left))
                group = [name for name in left if name not in needed]
                for name in group:
                    self._call("stopProcess", name, False)
                wait_until(
                    f"{', '.join(group)} to stop",
                    partial(self._are_stopped, group),
                    timeout=STOP_GRACE_PERIOD * 3,
                    retry_on=(OSError, xmlrpc.client.Error),
                )
                left = [name for name in left if name in needed]
            pid = self.supervisor.getPID()
            self.supervisor.shutdown()
            wait_until("supervisord to end", lambda: not processes.is_alive(pid), timeout=STOP_GRACE_PERIOD)

    def _are_stopped(self, group: Sequence[str]) -> bool:
        states = {info["name"]: info["statename"] for info in self.supervisor.getAllProcessInfo()}
        return not any(states.get(name) in ("STARTING", "RUNNING", "STOPPING") for name in group)

    def _remove_remains(self) -> None:
        """Whatever an earlier stack has left: processes, a shared memory segment, the folder."""
        if not self.run_folder.exists():
            return
        pid_file = self._database_folder / "postmaster.pid"
        with _telling_whose_it_is():
            _end_postgres(pid_file)
            processes.end(self.run_folder)
            _remove_segment(pid_file)
        _remove_folder(self.run_folder)

    def exec(self, service: str, *argv: str, stdin: str | None = None) -> str:
        """Run a command with a service's environment; its standard output."""
        self._require(service)
        return self.run(
            *argv, what=f"running {argv[0]} in {service}", stdin=stdin, env=self.variables(service)
        )

    def run_in(
        self, service: str, *argv: str, on_line: Callable[[str], None], what: str, next_step: str
    ) -> None:
        """Run a command with a service's environment, and hand over each line as it comes."""
        self._require(service)
        self.stream(*argv, what=what, on_line=on_line, next_step=next_step, env=self.variables(service))

    def _require(self, service: str) -> None:
        try:
            state = self.supervisor.getProcessInfo(service)["statename"]
        except (OSError, xmlrpc.client.Error):
            state = "STOPPED"
        if STATES.get(state) != "running":
            raise StackError(f"{service} does not run", next_step=IS_IT_RUNNING)

    def logs(self, *services: str, tail: int | None = None, timestamps: bool = False) -> str:
        """The services' logs so far, of all where none is named; no times are added to them."""
        parts = []
        for name in services or self.service_names:
            lines = self._lines(name, tail)
            prefix = "" if len(services) == 1 else f"{name:<14}| "
            parts += [f"{prefix}{line}\n" for line in lines]
        return "".join(parts)

    def _lines(self, name: str, tail: int | None) -> list[str]:
        older = self._log(name).with_suffix(".log.1")
        files = [file for file in (older, self._log(name)) if file.exists()]
        lines = [line for file in files for line in file.read_text(errors="replace").splitlines()]
        return lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]

    def memory(self) -> dict[str, float]:
        """What each process has alone and its share of what it shares (PSS), by service."""
        left = {process.pid: process for process in processes.processes(self.run_folder)}
        found: dict[str, float] = {}
        for name in self.service_names:
            own = [left.pop(one.pid, None) for one in processes.processes(self.run_folder, name)]
            found[name] = _pss(filter(None, own))
        return {name: used for name, used in found.items() if used} | {"supervision": _pss(left.values())}

    def show_logs(
        self, service: str | None, *, follow: bool, tail: int | None, on_line: Callable[[str], None]
    ) -> None:
        """Hand over the lines of one service's log, or of all."""
        names = [service] if service else self.service_names
        read = {name: self._log(name).stat().st_size if self._log(name).exists() else 0 for name in names}
        for line in self.logs(*names, tail=tail).splitlines():
            on_line(line)
        while follow and self.run_folder.exists():
            for name in names:
                for line in self._grown(name, read):
                    on_line(line if service else f"{name:<14}| {line}")
            time.sleep(FOLLOW)

    def _grown(self, name: str, read: dict[str, int]) -> list[str]:
        """Whole lines that have come since the last look."""
        file = self._log(name)
        if not file.exists():
            return []
        if file.stat().st_size < read[name]:  # moved aside
            read[name] = 0
        with file.open("rb") as log:
            log.seek(read[name])
            whole, newline, _ = log.read().rpartition(b"\n")
        read[name] += len(whole) + len(newline)
        return whole.decode(errors="replace").splitlines() if newline else []

    def write_logs(self, folder: Path) -> None:
        """As for any engine, and those of what is beside the services."""
        super().write_logs(folder)
        for own in (self.run_folder / "supervisord.log", self._log(PRELOAD)):
            if own.exists():
                shutil.copy(own, folder)


class _Watch:
    """Probes of a start: one at a time for each service, none for a healthy one, and no waiting for any.

    A web server's first answer takes seconds, in which others may have to be started.
    """

    def __init__(self, services: int) -> None:
        self._pool = ThreadPoolExecutor(services)
        self._running: dict[str, Future[Service]] = {}
        self._latest: dict[str, Service] = {}

    def __enter__(self) -> "_Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def know(self, services: Sequence[Service]) -> None:
        """Take what was seen before this start for the latest answers."""
        for service in services:
            self._latest.setdefault(service.name, service)

    def look(self, service: Service, probe: Callable[[], Service]) -> Service:
        """The latest answer about this process; still starting where there is none."""
        running = self._running.get(service.name)
        if running and running.done():
            self._latest[service.name] = self._running.pop(service.name).result()
            running = None
        latest = self._latest.get(service.name)
        known = latest if latest and latest.id == service.id else replace(service, health="starting")
        if running is None and known.health != "healthy":
            self._running[service.name] = self._pool.submit(probe)
        return known


def _require_free(port: int, setting: str) -> None:
    if port and ports.is_taken(port):
        by = ports.process_on(port) or "another program"
        raise StackError(f"port {port} is in use by {by}", next_step=f"Set {setting} to another, or to 0.")


def _pss(processes: Iterable[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            total += process.memory_full_info().pss
    return total


def _is_one_shot(service: Mapping[str, Any]) -> bool:
    return bool(service.get("restart", "no") == "no")


def _is_met(service: Service, condition: str) -> bool:
    return condition == "service_started" or service.ready


def _words(value: str | Sequence[str]) -> list[str]:
    return shlex.split(value) if isinstance(value, str) else [str(word) for word in value]


def _path(*folders: Path) -> str:
    return os.pathsep.join([*map(str, folders), "/usr/local/bin", "/usr/bin", "/bin"])


def _escaped(value: str) -> str:
    # supervisord fills in %(name)s.
    return value.replace("%", "%%")


def _seconds(duration: str | None) -> float:
    """A duration of a compose file, ``1m30s``, in seconds."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    found = re.findall(r"([\d.]+)(ms|s|m|h)", duration or "")
    return sum(float(number) * units[unit] for number, unit in found)


def _interpolated(value: Any, settings: Mapping[str, str]) -> Any:
    """Fill in variables as Compose does."""
    if isinstance(value, str):
        # A backslash is nothing special to Compose.
        return expand(value.replace("\\", "\\\\").replace("$$", "\\$"), environ=settings)
    if isinstance(value, dict):
        return {key: _interpolated(inner, settings) for key, inner in value.items()}
    if isinstance(value, list):
        return [_interpolated(inner, settings) for inner in value]
    return value


def _in_long_form(content: dict[str, Any]) -> dict[str, Any]:
    """Variables and dependencies of services as mappings, where they are lists."""
    for service in (content.get("services") or {}).values():
        if isinstance(variables := service.get("environment"), list):
            pairs = (variable.partition("=") for variable in variables)
            service["environment"] = {name: value if separator else None for name, separator, value in pairs}
        if isinstance(names := service.get("depends_on"), list):
            service["depends_on"] = {name: {"condition": "service_started"} for name in names}
    return content


def _merged(below: Any, above: Any, key: str = "") -> Any:
    """Compose's merge of files: the later one wins, but volumes are added."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: _merged(below.get(key), value, key) for key, value in above.items()}}
    if key == "volumes" and isinstance(below, list):
        return [*below, *above]
    return above


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        # A running service may be reading through it.
        if path.readlink() == target:
            return
        path.unlink()
    path.symlink_to(target)


def _remove_folder(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise StackError(
            f"{folder} cannot be removed: {error}", next_step="Run it as the user who started the stack."
        ) from error


@contextlib.contextmanager
def _telling_whose_it_is() -> Iterator[None]:
    """Make an error of a process that does not end, as one of another user's does not.

    :raises StackError: saying that.
    """
    try:
        yield
    except (TimeoutError, WaitTimeout) as error:
        raise StackError(str(error), next_step="Run it as the user who started the stack.") from error


def _end_postgres(pid_file: Path) -> None:
    """End a Postgres that runs on without supervisord.

    Root runs it as another user, of whose processes root may know nothing in a container. Its file tells: the
    first line is its process's id, the third when it was started, in seconds since the epoch.

    At SIGINT it ends its own processes, too, and writes down what it has committed. SIGQUIT, with
    `synchronous_commit=off`, loses the last 0.6 s of that (three times `wal_writer_delay`).
    """
    lines = pid_file.read_text().splitlines() if pid_file.exists() else []
    if len(lines) < 3:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(lines[0]))
        # The id may be another process's by now.
        if process.name() == "postgres" and process.create_time() < int(lines[2]) + 1:
            is_alive = partial(processes.is_alive, process.pid)
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(WaitTimeout):
                wait_until("Postgres to end", lambda: not is_alive(), timeout=STOP_GRACE_PERIOD)
                return
            process.send_signal(signal.SIGQUIT)
            wait_until("Postgres to end at once", lambda: not is_alive(), timeout=STOP_GRACE_PERIOD)


def _remove_segment(pid_file: Path) -> None:
    """Remove what a Postgres that was killed leaves: shared memory, and the file that says that it runs.

    The file's seventh line holds key and id of a System V segment, which only Postgres's next start would
    remove. That start would refuse, too, while a process of the id in the first line is there, even a zombie.
    """
    lines = pid_file.read_text().splitlines() if pid_file.exists() else []
    if len(lines) > 6 and len(lines[6].split()) == 2:
        segment = lines[6].split()[1]
        # Without their first process the others end by themselves.
        wait_until("Postgres's processes to end", lambda: not _attached(segment), timeout=10)
        subprocess.run(["ipcrm", "-m", segment], capture_output=True, check=False)  # noqa: S603, S607
    pid_file.unlink(missing_ok=True)


def _attached(segment: str) -> int:
    """How many processes use a shared memory segment, by sysvipc(7)."""
    table = Path("/proc/sysvipc/shm")
    rows = [line.split() for line in table.read_text().splitlines()[1:]] if table.exists() else []
    return sum(int(row[6]) for row in rows if row[1] == segment)
