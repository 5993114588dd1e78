"""The stack as processes of this machine, without Docker: the compose file's services, under supervisord."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from windtunnel import locks
from windtunnel.local import composefile, logs, postgres, processes, resources
from windtunnel.local.definitions import FORK_SERVER, Definitions
from windtunnel.local.healthcheck import Watch, probe_of, probed, start_period
from windtunnel.local.layout import REMEDY, Layout, link, remove
from windtunnel.local.supervisor import STOP_GRACE_PERIOD, Supervisor, grace_period
from windtunnel.local.venvs import LOCALSTACK_LIBRARY, NAMES, Venvs
from windtunnel.stack import overlays, ports
from windtunnel.stack.base import IS_IT_RUNNING, Say, Stack
from windtunnel.stack.command import COMMAND
from windtunnel.stack.errors import Finding, StackError
from windtunnel.stack.service import Service
from windtunnel.stack.settings import Settings
from windtunnel.stack.start import Advance, Progress
from windtunnel.waiting import WaitTimeout, wait_until


class ProcessStack(Stack):
    """The stack of one project as processes."""

    engine = "local"

    def __init__(self, settings: Settings) -> None:
        """Start nothing yet."""
        super().__init__(settings)
        self.venvs = Venvs(self)
        # While a start is watched.
        self._watch: Watch | None = None

    @cached_property
    def layout(self) -> Layout:
        """Where the files of this stack are."""
        return Layout(self.state_folder / "local" / self.settings.project)

    @cached_property
    def supervisor(self) -> Supervisor:
        """What starts the processes."""
        return Supervisor(self.layout)

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """The compose file with every variable filled in, as far as this engine reads it."""
        return composefile.read(self.settings)

    def labels(self, name: str) -> list[str]:
        """Return the names of a service's processes: its own, or ``worker-1``, ``worker-2`` for replicas.

        One that names a number, even 1, keeps the names of the others when the number changes.
        """
        if name == FORK_SERVER:
            return [name]
        number = overlays.replicas(name, self.configuration, self.settings.scale)
        if number == 1 and "scale" not in self.configuration["services"][name]:
            return [name]
        return [f"{name}-{replica}" for replica in range(1, number + 1)]

    @property
    def log_names(self) -> list[str]:
        """The names of all logs: of the services, and of the fork server."""
        return [*self.service_names, FORK_SERVER]

    def _labels(self, names: Iterable[str]) -> list[str]:
        return [label for name in names for label in self.labels(name)]

    def variables(self, service: str) -> Mapping[str, str]:
        """Return all variables of a service: nothing is inherited from this shell, as in a container."""
        return self._variables(service, next(iter(self.labels(service)), service))

    def _variables(self, service: str, label: str) -> Mapping[str, str]:
        return dict(self._definitions(self._ports()).of(service, label)["environment"])

    def _definitions(self, chosen: Mapping[str, int]) -> Definitions:
        return Definitions(self.settings, self.layout, self.venvs, self.configuration, chosen)

    def _ports(self) -> dict[str, int]:
        """Return the ports of the running stack; StackError if none runs."""
        if found := self.layout.ports():
            return found
        raise StackError(f"the stack {self.project} does not run", next_step=f"{COMMAND} up")

    def port(self, service: str) -> int:
        """Return this machine's port for a service of the running stack."""
        return self._ports()[service]

    def is_there(self) -> bool:
        """Whether any of its processes runs, supervised or not."""
        run = self.layout.run
        return self.supervisor.answers() or (run.exists() and bool(processes.processes(run)))

    def services(self) -> list[Service]:
        """Return every service of the compose file, each healthy or not as of now."""
        wanted = [self._unseen(name, label) for name in self.service_names for label in self.labels(name)]
        if not self.layout.run.exists():
            return wanted
        found = self.supervisor.processes()
        if found is None:
            return [self._unsupervised(service) for service in wanted]
        with ThreadPoolExecutor(len(wanted)) as pool:
            return list(pool.map(lambda service: self._seen(service, found.get(service.label)), wanted))

    def _unseen(self, name: str, label: str) -> Service:
        replica = int(label.rpartition("-")[2]) if label != name else 0
        one_shot = composefile.is_one_shot(self.configuration["services"][name])
        return Service(name, one_shot=one_shot, replica=replica)

    def _unsupervised(self, service: Service) -> Service:
        """Return a service of a stack whose supervisord was killed."""
        left = bool(processes.processes(self.layout.run, service.label))
        return replace(service, state="unsupervised" if left else "absent")

    def _seen(self, service: Service, info: Mapping[str, Any] | None) -> Service:
        service = self.supervisor.seen(service, info)
        defined = self.configuration["services"][service.name]
        probe = probe_of(service.name, defined)
        if info is None or service.state != "running" or probe is None:
            return service
        variables = partial(self._variables, service.name, service.label)
        look = partial(probed, service, probe, variables, float(info["start"]), start_period(defined))
        return self._watch.look(service, look) if self._watch else look()

    def get_engine(self, say: Say) -> None:
        """Do nothing: processes need no engine."""

    def findings(self) -> Iterator[Finding]:
        """Yield what this machine lacks."""
        return resources.programs()

    def port_holder(self, service: str, port: int) -> str:
        """Return the program that listens on a port, unless it is the service itself."""
        holder = ports.holder(port)
        is_own = holder and self.is_there() and self.port(service) == port
        return "" if is_own else holder

    def has_parts(self) -> bool:
        """Whether its venvs are there and up to date."""
        return not self.venvs.missing()

    def get_parts(self, say: Say, on_line: Say) -> None:
        """Install the venvs."""
        self.venvs.install(say)

    def get_test_tools(self, parts: Sequence[str], say: Say, on_line: Say) -> None:
        """Install pytest and mypy in a folder beside the venvs, which stay as they are."""
        self.venvs.install(say)
        self.venvs.install_test_tools()

    def test_command(
        self, part: str, arguments: Sequence[str], folders: Sequence[str]
    ) -> tuple[list[str], Mapping[str, str]]:
        """Return a command of a part's venv; each part has a cache of types of its own."""
        tools = self.venvs.test_tools
        path = [str(self.root / folder) for folder in (*folders, "src")]
        variables = {
            "PYTHONPATH": os.pathsep.join([*path, str(tools)]),
            "AIRFLOW_HOME": str(tools / "airflow_home"),
            "LAMBDA_RUNTIME_PYTHON": str(self.venvs.python("lambda")),
            "MYPY_CACHE_DIR": str(self.root / ".mypy_cache" / part),
        }
        return [str(self.venvs.python(part)), *arguments], variables

    def ask_unstarted(self, question: str) -> Any:
        """Ask in Airflow's venv, with a home of its own."""
        if self.venvs.missing(["airflow"]):
            return None
        command = (str(self.venvs.python("airflow")), "-m", "windtunnel.services.answers", question)
        with tempfile.TemporaryDirectory() as home:
            variables = {"AIRFLOW_HOME": home, "PYTHONPATH": str(self.root / "src"), "PATH": os.defpath}
            answer = self.run(*command, what="asking Airflow", env=variables)
        return json.loads(answer.splitlines()[-1])

    def warnings(self) -> list[Finding]:
        """Return what the fork server cannot do for this stack."""
        ready = [service.name for service in self.services() if service.ready and service.state == "running"]
        return self.supervisor.fork_warnings(map(self.variables, ready))

    def resource_findings(self) -> Iterator[Finding]:
        """Yield a lack of memory or disk."""
        return resources.memory_and_disk(self)

    @contextlib.contextmanager
    def _starting(self, on_line: Say, names: Collection[str]) -> Iterator[Advance]:
        self.supervisor.require_usable_path()
        self.layout.folder.mkdir(parents=True, exist_ok=True)
        # Of two starts at the same time, the second one finds the stack running.
        on_wait = partial(on_line, "another start of this stack is under way: waiting for it")
        with locks.exclusive(self.layout.folder / "lock", on_wait):
            if self.supervisor.answers():
                self._write({**self._ports(), **resources.moved_ports(self.settings, self._ports())})
                self.supervisor.update()
            else:
                self._remove_remains()
                # Definitions may have the password of a proxy.
                self.layout.run.mkdir(mode=0o700)
                self._write(resources.chosen_ports(self.settings, on_line))
                self.supervisor.start(self)
            self.supervisor.start_fork_server()
            waiting = set(names)
            self._watch = watch = Watch(len(self._labels(self.service_names)))
            try:
                yield partial(self._advance, waiting, watch)
            finally:
                watch.close()
                self._watch = None

    def _write(self, chosen: Mapping[str, int]) -> None:
        """Lay out the folder of a running stack: container paths, definitions, supervisord's settings."""
        services = self.configuration["services"]
        labels = {label: name for name in self.service_names for label in self.labels(name)}
        self.layout.make([*labels, FORK_SERVER], chosen)
        for name in self.service_names:
            for volume in services[name].get("volumes", []):
                self.layout.mount(volume, self.root)
        link(self.layout.place(LOCALSTACK_LIBRARY), self.venvs.service_index)
        definitions = self._definitions(chosen).all(labels)
        (self.layout.run / processes.SERVICES).write_text(json.dumps(definitions, indent=1))
        parts = {label: services[name] for label, name in labels.items()}
        parts[FORK_SERVER] = {"restart": "always"}
        self.supervisor.configure(definitions, parts, map(self.venvs.fingerprint, NAMES))

    def _advance(self, waiting: set[str], watch: Watch, services: Sequence[Service]) -> Progress:
        """Start what may be started now of the services that wait for their start."""
        watch.know(services)
        # A service that is only begun now has done nothing yet, whatever its state was before.
        unready = set(waiting)
        for name in sorted(waiting, key=self.service_names.index):
            needed = self.configuration["services"][name].get("depends_on", {})
            if all(
                other not in (waiting if condition == "service_started" else unready)
                and all(condition == "service_started" or one.ready for one in services if one.name == other)
                for other, condition in ((other, needed[other]["condition"]) for other in needed)
            ):
                waiting.discard(name)
                for label in self.labels(name):
                    # What runs stays; a one-shot, and what an update has stopped, runs again.
                    self.supervisor.call("startProcess", label, False)
        return Progress(done=not waiting)

    def _remove(self, volumes: bool) -> None:
        """End every process of the stack, even if supervisord was killed, and remove what it leaves."""
        if volumes:
            # If nothing is kept, nothing needs time to stop.
            with _owner_named():
                processes.end(self.layout.run)
        elif self.supervisor.answers():
            self.stop()
        self._remove_remains()
        if volumes and self.layout.folder.exists():
            remove(self.layout.folder)

    def stop(self) -> None:
        """Stop what depends on others before them, each with its own patience, then supervisord."""
        left = self.service_names
        # What does not end is killed afterwards.
        with contextlib.suppress(WaitTimeout):
            while left:
                needed = set().union(*map(self.dependencies, left))
                group = [name for name in left if name not in needed]
                for label in self._labels(group):
                    self.supervisor.call("stopProcess", label, False)
                stopped = partial(self.supervisor.have_stopped, self._labels(group))
                services = self.configuration["services"]
                patience = max(grace_period(services[name]) for name in group)
                wait_until(f"{', '.join(group)} to stop", stopped, timeout=patience + STOP_GRACE_PERIOD * 2)
                left = [name for name in left if name in needed]
            self.supervisor.stop()

    def _remove_remains(self) -> None:
        """Remove what an earlier stack has left: processes, a shared memory segment, the folder."""
        if not self.layout.run.exists():
            return
        pid_file = self.layout.database / "postmaster.pid"
        with _owner_named():
            postgres.end(pid_file)
            processes.end(self.layout.run)
            postgres.remove_segment(pid_file)
        remove(self.layout.run)

    def exec(self, service: str, *argv: str, stdin: str | None = None) -> str:
        """Run a command with a service's variables and return its standard output."""
        self._require(service)
        what = f"running {argv[0]} in {service}"
        return self.run(*argv, what=what, stdin=stdin, env=self.variables(service))

    def run_in(self, service: str, *argv: str, on_line: Say, what: str, next_step: str) -> None:
        """Run a command with a service's variables, and hand over each line as it comes."""
        self._require(service)
        self.stream(*argv, what=what, on_line=on_line, next_step=next_step, env=self.variables(service))

    def _require(self, service: str) -> None:
        if not any(self.supervisor.state(label) == "running" for label in self.labels(service)):
            raise StackError(f"{service} does not run", next_step=IS_IT_RUNNING)

    def logs(self, *services: str, tail: int | None = None, timestamps: bool = False) -> str:
        """Return the services' logs so far, or all logs if no service is named; no times are added."""
        return logs.text(self.layout, self._labels(services or self.service_names), tail)

    def show_logs(self, service: str | None, *, follow: bool, tail: int | None, on_line: Say) -> None:
        """Hand over the lines of one log, or of all services."""
        labels = self._labels([service] if service else self.service_names)
        logs.show(self.layout, labels, follow=follow, tail=tail, on_line=on_line)

    def write_logs(self, folder: Path) -> None:
        """Write the logs as any stack does, and those of what is beside the services."""
        super().write_logs(folder)
        for own in (self.supervisor.log_file, self.layout.log(FORK_SERVER)):
            if own.exists():
                shutil.copy(own, folder)

    def memory(self) -> dict[str, float]:
        """Return what each process has alone and its share of what it shares (PSS), by service."""
        return processes.memory(self.layout.run, self._labels(self.service_names))


@contextlib.contextmanager
def _owner_named() -> Iterator[None]:
    """Turn a process that does not end into a StackError: it may be another user's."""
    try:
        yield
    except (TimeoutError, WaitTimeout) as error:
        raise StackError(str(error), next_step=REMEDY) from error
