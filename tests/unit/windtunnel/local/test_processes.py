import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

import psutil
import pytest

from windtunnel.local import processes
from windtunnel.stack.settings import ROOT

Start = Callable[..., "Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process with this temporary folder, which none outlives the test."""
    started: list[Popen[bytes]] = []

    def process(temporary: Path | None, *command: str) -> "Popen[bytes]":
        environment = {"PATH": os.environ["PATH"]} | ({"TMPDIR": str(temporary)} if temporary else {})
        started.append(Popen(command or ("sleep", "600"), env=environment, stdout=subprocess.PIPE))
        return started[-1]

    yield process
    for process_ in started:
        process_.kill()
        process_.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """That of a running stack, with a definition of one service."""
    folder = tmp_path / "run"
    own = processes.temporary_folder(folder, "scheduler")
    own.mkdir(parents=True)
    definition = {
        "command": ["/bin/sh", "-c", 'echo "$0 $PWD $(env | grep -c .)"; env', "started"],
        "environment": {"TMPDIR": str(own), "GREETING": "hello", "PATH": "/usr/bin:/bin"},
        "folder": str(own),
    }
    (folder / processes.SERVICES).write_text(json.dumps({"scheduler": definition}))
    return folder


def pids(folder: Path, service: str = "") -> set[int]:
    return {process.pid for process in processes.processes(folder, service)}


def test_processes_are_found_by_their_temporary_folder(folder: Path, start: Start) -> None:
    scheduler = start(folder / "tmp/scheduler")
    function = start(folder / "tmp/localstack/function-1")
    in_root = start(folder / "root/tmp/x")
    start(folder / "tmp/scheduler-2")
    start(folder.with_name("run-2") / "tmp/scheduler")
    start(None)

    assert pids(folder, "scheduler") == {scheduler.pid}
    assert pids(folder, "localstack") == {function.pid}
    assert pids(folder) >= {scheduler.pid, function.pid, in_root.pid}
    assert len(pids(folder)) == 4


def orphan(start: Start, temporary: Path) -> int:
    """A process whose parent has ended, and that is in no group of its: its environment alone tells."""
    parent = start(temporary, "sh", "-c", "setsid sleep 600 >&- & echo $!")
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.wait()
    return child


def test_what_a_service_has_left_alone_is_found(folder: Path, start: Start) -> None:
    child = orphan(start, folder / "tmp/scheduler")

    assert pids(folder, "scheduler") == {child}

    processes.end(folder)
    assert pids(folder) == set()


def test_a_process_that_forgets_its_environment_is_found_by_where_it_is(folder: Path, start: Start) -> None:
    (folder / "tmp/postgres").mkdir()
    (folder / "tmp/postgres-2").mkdir()
    inside, beside = (
        start(None, "sh", "-c", f"cd {folder / 'tmp' / name} && echo && exec sleep 600")
        for name in ("postgres", "postgres-2")
    )
    for process in (inside, beside):
        assert process.stdout is not None
        assert process.stdout.readline(), "it is there now"

    assert pids(folder, "postgres") == {inside.pid}


def test_what_a_process_of_a_service_has_started_belongs_to_it(folder: Path, start: Start) -> None:
    command = "cd / && exec env -i sleep 600 >&- & echo $!; wait"
    parent = start(folder / "tmp/scheduler", "sh", "-c", command)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())

    assert pids(folder, "scheduler") == {parent.pid, child}

    processes.end(folder, "scheduler")
    with suppress(psutil.NoSuchProcess):
        # Who is to reap it may take a while.
        assert psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_this_process_is_no_finding(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import sys; from pathlib import Path; from windtunnel.local import processes\n"
        "print(list(processes.processes(Path(sys.argv[1]))))"
    )
    environment = {"PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(folder / "tmp/scheduler")}

    found = subprocess.check_output([sys.executable, "-c", program, folder], env=environment, text=True)

    assert found == "[]\n"


def test_one_service_is_ended_and_the_others_are_not(folder: Path, start: Start) -> None:
    start(folder / "tmp/scheduler")
    localstack = start(folder / "tmp/localstack")

    processes.end(folder, "scheduler")
    assert pids(folder) == {localstack.pid}

    processes.end(folder)
    assert pids(folder) == set()


def test_what_has_ended_and_is_not_reaped_is_gone(folder: Path, start: Start) -> None:
    # Its parent, this process, does not wait for it until the test is over.
    zombie = start(folder / "tmp/scheduler")
    zombie.kill()
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)

    assert pids(folder) == set()
    assert not processes.is_alive(zombie.pid)
    assert processes.is_alive(os.getpid())


def test_what_cannot_be_killed_is_named(folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    other = start(folder / "tmp/scheduler")

    def denied(_: psutil.Process) -> None:
        raise psutil.AccessDenied

    with monkeypatch.context() as patch:
        patch.setattr(psutil.Process, "kill", denied)
        patch.setattr(processes, "PATIENCE", 0.05)
        with pytest.raises(TimeoutError, match=f"these processes do not end: {other.pid}"):
            processes.end(folder)


def test_a_process_becomes_the_service_with_its_environment_alone(folder: Path, start: Start) -> None:
    left = orphan(start, folder / "tmp/scheduler")
    other = start(folder / "tmp/postgres")

    program = [sys.executable, "-P", "-m", "windtunnel.local.processes", str(folder), "scheduler", "digest"]
    environment = {"PYTHONPATH": str(ROOT / "src"), "OF_SUPERVISORD": "1"}
    first, *given = subprocess.check_output(program, env=environment, text=True).splitlines()

    assert first.split()[:2] == ["started", str(folder / "tmp/scheduler")]
    # What a shell sets by itself.
    assert {line for line in given if not line.startswith(("PWD=", "SHLVL=", "_="))} == {
        f"TMPDIR={processes.temporary_folder(folder, 'scheduler')}",
        "GREETING=hello",
        "PATH=/usr/bin:/bin",
    }
    assert left not in pids(folder), "what an earlier process has left"
    assert other.poll() is None
