"""Starts the processes that stand for containers, most of them as forks of one that has imported Airflow.

An Airflow task by itself needs 5 to 9 s of a busy core before its own code, a fork about 1 s. This process has one
thread, so that it may be forked, and does nothing else: it is the parent of the agent, which tells it what to
start, and of all containers. What it has to say stands in files of a container's folder, which outlive the agent:
``pid`` once it runs, or ``error``; ``status``, the exit code, once it has ended.
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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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

# prctl(2): the signal that a process gets when its parent ends.
PR_SET_PDEATHSIG = 1


def preload() -> None:
    """Import what tasks need, as the scheduler of a LocalExecutor does."""
    for name in MODULES:
        importlib.import_module(name)
    importlib.import_module("airflow_local_settings").preload()


class Runner:
    """Starts what it is told to, and notes how it ends."""

    def __init__(self, agent: Callable[[socket.socket], None]) -> None:
        """Take the function that is the agent: it gets the end of a socket to write orders to."""
        self._agent = agent
        self._agent_pid = 0
        self._orders: socket.socket | None = None
        self._pending = b""
        # By process id: the folder of a container.
        self._containers: dict[int, Path] = {}
        # The number of a signal arrives here, so one place waits for everything.
        self._woken, self._wake = socket.socketpair()
        self._ending = False

    def run(self) -> int:
        """Go on until this process is told to end; return its exit code."""
        for end in (self._woken, self._wake):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        while not self._ending:
            if not self._agent_pid:
                self._start_agent()
            with selectors.DefaultSelector() as selector:
                selector.register(self._woken, selectors.EVENT_READ)
                if self._orders:
                    selector.register(self._orders, selectors.EVENT_READ)
                for key, _ in selector.select():
                    if key.fileobj is self._orders:
                        self._take_orders(self._orders)
                    else:
                        self._woken.recv(4096)
            self._reap()
        for pid in filter(None, (self._agent_pid, *self._containers)):
            # What it has started in turn ends with the container, or by who starts or stops this service.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return 0

    def _end(self, *_: object) -> None:
        self._ending = True

    def _start_agent(self) -> None:
        self._orders, theirs = socket.socketpair()
        self._pending = b""
        self._agent_pid = self._fork(lambda: self._agent(theirs))
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
                pid = self._fork(lambda: become(order, folder))  # noqa: B023 - it is called at once
            except OSError as error:
                _write(folder / "error", f"CannotStartContainerError: {error}")
                continue
            self._containers[pid] = folder
            _write(folder / "pid", str(pid))

    def _fork(self, work: Callable[[], None]) -> int:
        """Run a function in a fork, a session of its own that ends when this process ends; return its id."""
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            if self._orders:
                self._orders.close()
            os.setsid()
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
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
            elif folder := self._containers.pop(pid, None):
                # As Docker says it of a process that a signal has ended.
                _write(folder / "status", str(code if code >= 0 else 128 - code))


def become(order: Mapping[str, Any], folder: Path) -> None:
    """Become what an order says: ``argv``, ``environment``, ``working_directory``; write into ``output``."""
    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in (1, 2):
        os.dup2(output, number)
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
    """Return whether a command is a module of Airflow, with nothing else set that Airflow reads when imported."""
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
