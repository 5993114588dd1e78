"""Forks of a server that has imported something, and the clients that wait for them; with real processes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE, Popen

import psutil
import pytest

from windtunnel.local import fork_client, fork_server, processes
from windtunnel.local.fork_client import SOCKET_VARIABLE
from windtunnel.stack.settings import ROOT
from windtunnel.waiting import wait_until

from .execution_api import Parts

# As `python -m windtunnel.local.fork_server`, with a module of this test in place of Airflow.
SERVER = """
import sys, time
from pathlib import Path
def import_for_all():
    import imported_once
def import_for_others():
    while not Path(sys.argv[1] + ".imported").exists(): time.sleep(0.01)
    import imported_for_others
from windtunnel.local import fork_server
fork_server._set_title = lambda title: None
fork_server.run(fork_server.Server(Path(sys.argv[1])).serve(import_for_all, import_for_others))
"""

IMPORTED_ONCE = """
import os
PID = os.getpid()
"""

COMMAND = """
import os, sys, tempfile
from imported_once import PID
print(PID, os.getcwd(), os.environ["HOME"], tempfile.gettempdir(), *sys.argv[1:], input())
"""

WAITS = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
print(os.getpid(), flush=True)
signal.pause()
"""

Client = Callable[..., "Popen[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The variables of a service."""
    (tmp_path / "imported_once.py").write_text(IMPORTED_ONCE)
    (tmp_path / "imported_for_others.py").touch()
    (tmp_path / "command.py").write_text(COMMAND)
    (tmp_path / "waits.py").write_text(WAITS)
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
        "PYTHONPATH": f"{tmp_path}:{ROOT / 'src'}",
        "HOME": "/home/service",
        "TMPDIR": str(tmp_path),
        SOCKET_VARIABLE: str(tmp_path / "socket"),
    }


@pytest.fixture
def server(environment: dict[str, str], tmp_path: Path) -> Iterator["Popen[str]"]:
    socket = tmp_path / "socket"
    (tmp_path / "socket.imported").touch()
    command = [sys.executable, "-c", SERVER, str(socket)]
    process = Popen(command, env=environment | {"HOME": "/home/server"}, text=True, stderr=PIPE)
    wait_until("the server to listen", socket.exists, timeout=10)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def client(environment: dict[str, str]) -> Iterator[Client]:
    started: list[Popen[str]] = []

    def start(*argv: str, folder: Path | str = "/", **variables: str) -> "Popen[str]":
        command = [sys.executable, "-IS", fork_client.__file__, *argv]
        variables = environment | variables
        pipes = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE}
        started.append(Popen(command, env=variables, cwd=folder, text=True, **pipes))  # type: ignore[call-overload]
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_command_runs_in_a_fork_as_if_it_were_started(
    server: "Popen[str]", client: Client, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()

    process = client("python", "-m", "command", "a b", folder=own, HOME="/home/mine", TMPDIR=str(own))

    assert process.communicate("read\n", timeout=10) == (
        f"{server.pid} {own} /home/mine {own} a b read\n",
        "",
    )
    assert process.returncode == 0


def test_a_script_of_the_environment_runs_in_a_fork(
    server: "Popen[str]", client: Client, environment: dict[str, str]
) -> None:
    # Any that is there: pip is in none, uv is no script.
    process = client("pytest", "--version")

    output, _ = process.communicate(timeout=30)

    assert output.startswith("pytest ")


def test_the_web_server_is_not_kept_waiting(server: "Popen[str]", client: Client, tmp_path: Path) -> None:
    """It is what a start waits for longest; others wait for what is imported for them."""
    (tmp_path / "socket.imported").unlink()
    web = client("python", "-m", "waits", "api-server")
    fork = started_fork(web)
    other = client("python", "-m", "waits")

    assert [child.pid for child in psutil.Process(server.pid).children()] == [fork.pid]
    (tmp_path / "socket.imported").touch()
    assert started_fork(other).ppid() == server.pid


def started_fork(process: "Popen[str]") -> psutil.Process:
    """Once it runs, and who started it waits for its end."""
    assert process.stdout is not None
    fork = psutil.Process(int(process.stdout.readline()))
    wait_until("the client to wait", lambda: handles(process.pid, signal.SIGTERM), timeout=10, interval=0.01)
    return fork


def handles(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal, by proc(5)."""
    (mask,) = re.findall(r"^SigCgt:\s+(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) & 1 << number - 1)


@pytest.mark.usefixtures("server")
def test_signals_are_passed_on_and_the_exit_code_back(client: Client) -> None:
    process = client("python", "-m", "waits")
    assert started_fork(process).pid != process.pid

    process.terminate()

    assert process.wait(timeout=10) == 5


@pytest.mark.usefixtures("server")
def test_who_waits_for_a_killed_fork_ends_by_the_same_signal(client: Client) -> None:
    process = client("python", "-m", "waits")

    started_fork(process).kill()

    assert process.wait(timeout=10) == -signal.SIGKILL


@pytest.mark.usefixtures("server")
def test_a_fork_ends_with_who_waits_for_it(client: Client) -> None:
    first, second = client("python", "-m", "waits"), client("python", "-m", "waits")
    fork, other = started_fork(first), started_fork(second)

    first.kill()

    wait_until("the fork to be gone", lambda: not processes.is_alive(fork.pid), timeout=10)
    assert processes.is_alive(other.pid)


def test_all_end_with_the_server(server: "Popen[str]", client: Client) -> None:
    process = client("python", "-m", "waits")
    fork = started_fork(process)

    server.kill()

    _, said = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "the fork server has ended" in said
    wait_until("the fork to be gone", lambda: not processes.is_alive(fork.pid), timeout=10)


def test_a_client_runs_the_command_itself_if_its_variables_differ(
    server: "Popen[str]", client: Client
) -> None:
    """What was imported may have read that variable. The server's log names it, without its value."""
    process = client("python", "-m", "command", AIRFLOW__CORE__PARALLELISM="17")

    output, _ = process.communicate("read\n", timeout=10)

    assert output.split()[0] == str(process.pid)
    assert server.poll() is None
    assert server.stderr is not None
    said = server.stderr.readline()
    assert said == "fork server: python -m command differs in AIRFLOW__CORE__PARALLELISM\n"


def test_a_client_runs_the_command_itself_without_a_server(client: Client) -> None:
    process = client("python", "-m", "command")

    output, _ = process.communicate("read\n", timeout=10)

    assert output.split()[0] == str(process.pid)


def test_a_client_runs_the_command_itself_if_the_import_fails(
    server: "Popen[str]", client: Client, tmp_path: Path
) -> None:
    """It then says what is wrong, in its own log."""
    (tmp_path / "imported_once.py").write_text("import no_such_module\n")

    process = client("python", "-m", "command")

    _, said = process.communicate("read\n", timeout=10)
    assert process.returncode == 1
    assert "no_such_module" in said
    assert server.wait(timeout=10) == 1


def test_the_server_serves_without_what_only_saves_time(
    server: "Popen[str]", client: Client, tmp_path: Path
) -> None:
    """A config folder of another repository need not have what is imported for tasks."""
    (tmp_path / "imported_for_others.py").unlink()

    process = client("python", "-m", "command")

    assert process.communicate("read\n", timeout=10)[0].split()[0] == str(server.pid)


def test_a_client_that_asks_for_nothing_useful_is_refused(
    server: "Popen[str]", client: Client, tmp_path: Path
) -> None:
    import socket

    for request in (b"", b"\x04\x00\x00\x00null"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(tmp_path / "socket"))
            connection.sendall(request)

    process = client("python", "-m", "command")

    assert process.communicate("read\n", timeout=10)[0].split()[0] == str(server.pid)


def test_a_client_imports_next_to_nothing() -> None:
    """It runs in each start of a service."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import fork_client; print(*sys.modules)"
    command = [sys.executable, "-IS", "-c", code, str(Path(fork_client.__file__).parent)]

    modules = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    assert "json" in modules
    assert not {"typing", "pathlib", "dataclasses", "subprocess"} & set(modules)


# Airflow's execution API


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    return Parts(monkeypatch)


def test_older_versions_of_the_api_are_dropped(parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    fork_server.speak_newest_version_only()

    assert (parts.bundle.versions, parts.router.routes) == (["new"], [parts.new])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("gone", ["the private name", "versions", "routes"])
def test_older_versions_stay_if_a_name_is_gone(
    parts: Parts, capsys: pytest.CaptureFixture[str], gone: str
) -> None:
    if gone == "versions":
        del parts.bundle.versions
    elif gone == "routes":
        del parts.router.routes
    else:
        del sys.modules["cadwyn.route_generation"]._DELETED_ROUTE_TAG

    fork_server.speak_newest_version_only()

    assert vars(parts.bundle).get("versions", ["new", "old"]) == ["new", "old"]
    assert vars(parts.router).get("routes", [parts.old, parts.new]) == [parts.old, parts.new]
    assert capsys.readouterr().err.startswith(fork_server.WARNING)
