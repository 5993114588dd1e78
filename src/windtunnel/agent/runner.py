"""Starts the processes that stand for containers, most of them as forks of one that has imported Airflow.

An Airflow task by itself needs 5 to 9 s of a busy core before its own code, a fork about 1 s. This process
has one thread, so that it may be forked, and does nothing else: it is the parent of the agent, which tells it
what to start, and of all containers. What it has to say stands in files of a container's folder, which
outlive the agent: ``pid`` once it runs, or ``error``; ``status``, the exit code, once it has ended.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from windtunnel.agent.process_table import ProcessTable, with_descendants

# What an executor's container imports.
MODULES = (
    "airflow.sdk.execution_time.execute_workload",
    "airflow.executors.base_executor",
    "airflow.executors.workloads",
)

# Only these are run in a fork; any other program is started as such.
FORKED = "airflow."

# What Airflow and Python may have read when they were imported: a container that differs in one of these is
# no fork. Variables and connections of Airflow are read when a task asks for them.
READ_AT_IMPORT = ("AIRFLOW", "PYTHON", "LD_", "TZ", "LANG", "LC_")
READ_LATER = ("AIRFLOW_VAR_", "AIRFLOW_CONN_", "AIRFLOW_CTX_")

# prctl(2): the signal that a process gets when its parent ends; and that what comes from a process falls to
# it when its own parent ends.
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# An agent that ends at once is not started again at once, in seconds.
PAUSE = 1.0

# How often a note that found no room on the disk is tried again, in seconds.
NOTE_AGAIN = 1.0

# How long the runner waits for what it has killed at its own end, in seconds.
KILL_PATIENCE = 2.0


def preload() -> None:
    """Import what tasks need, as the scheduler of a LocalExecutor does."""
    for name in MODULES:
        importlib.import_module(name)
    importlib.import_module("airflow_local_settings").preload()


class Runner:
    """Starts what it is told to, and notes how it ends."""

    def __init__(
        self, agent: Callable[[socket.socket, str], None], shared: Collection[socket.socket] = ()
    ) -> None:
        """Take the function that is the agent: it gets the end of a socket to write orders to, and a name.

        :param agent: the name that it gets tells this runner from earlier ones.
        :param shared: sockets that all agents are to have, one after the other, and no container.
        """
        self._agent = agent
        self._shared = shared
        self._identity = uuid4().hex
        self._agent_pid = 0
        self._agent_not_before = 0.0
        self._orders: socket.socket | None = None
        self._pending = b""
        # By process id: the folder of a container.
        self._containers: dict[int, Path] = {}
        # What is to be noted, by file; a full disk may have kept it from being.
        self._notes: dict[Path, str] = {}
        # The number of a signal arrives here, so one place waits for everything.
        self._woken, self._wake = socket.socketpair()
        self._ending = False

    def run(self) -> int:
        """Go on until this process is told to end; return its exit code."""
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        for end in (self._woken, self._wake):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        while not self._ending:
            wait = self._agent_not_before - time.monotonic()
            if not self._agent_pid and wait <= 0:
                self._start_agent()
            waits = [NOTE_AGAIN] if self._notes else []
            waits += [wait] if not self._agent_pid else []
            self._wait(min(waits, default=None))
            self._reap()
            self._write_notes()
        self._kill_all()
        return 0

    def _wait(self, timeout: float | None) -> None:
        """Wait for an order or a signal, and take it."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            if self._orders:
                selector.register(self._orders, selectors.EVENT_READ)
            for key, _ in selector.select(timeout):
                if key.fileobj is self._orders:
                    self._take_orders(self._orders)
                else:
                    self._woken.recv(4096)

    def _end(self, *_: object) -> None:
        self._ending = True

    def _kill_all(self) -> None:
        """Leave no process behind: all that containers have started has fallen to this process."""
        table = ProcessTable()
        deadline = time.monotonic() + KILL_PATIENCE
        while True:
            found = with_descendants(table.entries(), [os.getpid()]) - {os.getpid()}
            if not found or time.monotonic() > deadline:
                return
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            # One has ended, as all were killed.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, 0)

    def _start_agent(self) -> None:
        self._orders, theirs = socket.socketpair()
        self._pending = b""
        self._agent_not_before = time.monotonic() + PAUSE
        self._agent_pid = self._fork(lambda: self._agent(theirs, self._identity), is_agent=True)
        theirs.close()

    def _take_orders(self, orders: socket.socket) -> None:
        data = orders.recv(65536)
        if not data:  # the agent has ended
            orders.close()
            self._orders = None
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            order = json.loads(line)
            folder = Path(order["folder"])
            try:
                pid = self._fork(lambda: self._become(order, folder))  # noqa: B023 - it is called at once
            except OSError as error:
                self._notes[folder / "error"] = f"CannotStartContainerError: {error}"
                continue
            self._containers[pid] = folder

    def _become(self, order: Mapping[str, Any], folder: Path) -> None:
        # Before anything else: without this note a container has never run, and may be started.
        _write(folder / "pid", f"{os.getpid()} {self._identity}")
        become(order, folder)

    def _fork(self, work: Callable[[], None], is_agent: bool = False) -> int:
        """Run a function in a fork, a session of its own that ends when this process ends; return its id."""
        runner = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._let_go(is_agent)
            os.setsid()
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != runner:  # it has ended already
                os._exit(1)
            gc.enable()
            work()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
            if isinstance(error.code, str):
                print(error.code, file=sys.stderr)  # noqa: T201
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except (OSError, ValueError):
                    code = code or 1
            os._exit(code)

    def _let_go(self, is_agent: bool) -> None:
        """Close, in a fork, what is the runner's own."""
        own = [self._woken, self._wake, *([self._orders] if self._orders else [])]
        for one in own if is_agent else [*own, *self._shared]:
            one.close()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid == self._agent_pid:
                self._agent_pid = 0
                # Its last orders first: the next agent takes what has not begun for not ordered.
                while self._orders:
                    self._take_orders(self._orders)
            elif folder := self._containers.pop(pid, None):
                # As Docker says it of a process that a signal has ended.
                self._notes[folder / "status"] = str(code if code >= 0 else 128 - code)

    def _write_notes(self) -> None:
        for path, text in list(self._notes.items()):
            try:
                _write(path, text)
            except FileNotFoundError:
                pass  # the agent has removed the container
            except OSError:
                continue
            del self._notes[path]


def become(order: Mapping[str, Any], folder: Path) -> None:
    """Become what an order says: ``argv``, ``environment``, ``working_directory``; write into ``output``.

    :param order: also ``cores``, numbers of processors, and ``keeps_output``, whether somebody reads that.
    :param folder: the container's.
    """
    # What goes nowhere is not kept: nobody would ever read it.
    name = folder / "output" if order["keeps_output"] else os.devnull
    output = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for opened, number in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(opened, number)
    for opened in {nothing, output} - {0, 1, 2}:
        os.close(opened)
    argv, environment = order["argv"], order["environment"]
    os.chdir(order["working_directory"])
    if order["cores"]:
        os.sched_setaffinity(0, order["cores"])
    if can_be_forked(argv, environment, os.environ):
        os.environ.clear()
        os.environ.update(environment)
        sys.path[0] = os.getcwd()
        sys.argv = argv[2:]
        runpy.run_module(argv[2], run_name="__main__", alter_sys=True)
        return
    try:
        os.execvpe(argv[0], argv, environment)  # noqa: S606
    except OSError as error:
        sys.exit(f"exec {argv[0]}: {error.strerror}")


def can_be_forked(argv: list[str], environment: Mapping[str, str], own: Mapping[str, str]) -> bool:
    """Return whether a command is a module of Airflow, with nothing set that Airflow reads when imported."""
    if len(argv) < 3 or argv[1] != "-m" or not argv[2].startswith(FORKED):
        return False
    program = shutil.which(argv[0], path=environment.get("PATH"))
    if not program or os.path.realpath(program) != os.path.realpath(sys.executable):
        return False
    differing = {name for name in environment.keys() | own.keys() if environment.get(name) != own.get(name)}
    return not any(name.startswith(READ_AT_IMPORT) and not name.startswith(READ_LATER) for name in differing)


def _write(path: Path, text: str) -> None:
    """Write a file so that it is there as a whole or not at all."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)
