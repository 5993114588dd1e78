"""Containers are processes that the runner starts; what becomes of them is noted, and none is left behind."""

import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from windtunnel.agent.runner import can_be_forked
from windtunnel.agent.runtime import CannotStart, Exit
from windtunnel.waiting import wait_until

from .conftest import RunnerProcess
from .containers import container, is_alive, python, shell


def ended(runner: RunnerProcess, folder: Path) -> Exit:
    return wait_until("the container to end", lambda: runner.exit(folder), timeout=30, interval=0.02)


def ran(
    runner: RunnerProcess, folder: Path, definition: dict[str, Any], cpu: int | None = None
) -> tuple[Exit, str]:
    runner.start(definition, folder, cpu)
    found = ended(runner, folder)
    return found, (folder / "output").read_text()


def read(path: Path) -> str:
    """What a container writes into a file, which it may be about to make."""

    def content() -> str:
        return path.read_text() if path.exists() else ""

    return wait_until(f"{path.name} to be written", content, timeout=30)


def test_output_and_exit_code(runner: RunnerProcess, tmp_path: Path) -> None:
    found, output = ran(runner, tmp_path / "one", shell("echo out; echo err >&2; exit 3"))

    assert found == Exit(3)
    assert sorted(output.splitlines()) == ["err", "out"]
    assert stat.S_IMODE((tmp_path / "one" / "output").stat().st_mode) == 0o600


def test_an_end_by_a_signal_is_said_as_docker_says_it(runner: RunnerProcess, tmp_path: Path) -> None:
    assert ran(runner, tmp_path / "one", shell("kill -9 $$"))[0] == Exit(137)


def test_a_container_has_its_own_environment_and_nothing_of_the_agents(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "one"
    _, output = ran(runner, folder, shell("env; pwd", environment={"A": "1"}, working_directory="/"))

    lines = output.splitlines()
    assert "A=1" in lines
    assert f"TMPDIR={folder / 'tmp'}" in lines
    assert not any(line.startswith("AGENT_") for line in lines)
    assert lines[-1] == "/"


def test_a_container_has_no_files_open_but_its_own(runner: RunnerProcess, tmp_path: Path) -> None:
    _, output = ran(runner, tmp_path / "one", python("import os; print(sorted(os.listdir('/proc/self/fd')))"))

    # The last one is that of the listing itself.
    assert output == "['0', '1', '2', '3']\n"


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        (container("none-such"), 'exec: "none-such": executable file not found in $PATH'),
        (container("true", working_directory="/none"), "the working directory /none is not there"),
        (container("true", command=[]), "no command specified"),
    ],
)
def test_what_cannot_start_says_why(
    runner: RunnerProcess, tmp_path: Path, definition: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CannotStart) as raised:
        runner.start(definition, tmp_path / "one", None)

    assert str(raised.value).startswith("CannotStartContainerError: ")
    assert reason in str(raised.value)


def test_output_that_nobody_reads_is_not_kept(runner: RunnerProcess, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    runner.start(shell("echo lost", logs=None), folder, None)

    assert ended(runner, folder) == Exit(0)
    assert not (folder / "output").exists()


def test_a_container_ends_with_its_first_process(runner: RunnerProcess, tmp_path: Path) -> None:
    """Its child, and a daemon, which has left session and parent."""
    daemon = "setsid sh -c 'sleep 100 & echo $! > daemon'"
    script = f"sleep 100 & echo $! > child; {daemon}; while [ ! -s daemon ]; do :; done"
    folder = tmp_path / "one"
    runner.start(shell(script, working_directory=str(tmp_path)), folder, None)

    assert ended(runner, folder) == Exit(0)
    assert not is_alive(int((tmp_path / "child").read_text()))
    assert not is_alive(int((tmp_path / "daemon").read_text()))


def test_the_end_of_the_runner_leaves_nothing(runner: RunnerProcess, tmp_path: Path) -> None:
    script = "sleep 100 & echo $! > child; wait"
    runner.start(shell(script, working_directory=str(tmp_path)), tmp_path / "one", None)
    child = int(read(tmp_path / "child"))

    assert runner.end() == 0
    assert not is_alive(child)
    assert not is_alive(runner.agent)


def test_what_a_killed_runner_leaves_is_ended_by_the_next_one(runner: RunnerProcess, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    runner.start(shell("sleep 100 & echo $! > child; wait", working_directory=str(tmp_path)), folder, None)
    child = int(read(tmp_path / "child"))
    first = int((folder / "pid").read_text().split()[0])
    runner.end(signal.SIGKILL)
    wait_until("the first process to end", lambda: not is_alive(first), timeout=10)
    (tmp_path / "next").mkdir()
    following = RunnerProcess(tmp_path / "next")

    assert following.exit(folder) == Exit(137, "The agent was killed")
    assert not is_alive(child)
    assert not following.signal(folder, signal.SIGTERM)
    following.end()


def test_containers_outlive_the_agent(runner: RunnerProcess, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    script = "while [ ! -e go ]; do sleep 0.02; done; exit 4"
    runner.start(shell(script, working_directory=str(tmp_path)), folder, None)
    os.kill(runner.agent, signal.SIGKILL)
    runner.next_agent()

    assert runner.exit(folder) is None
    (tmp_path / "go").touch()
    assert ended(runner, folder) == Exit(4)
    assert ran(runner, tmp_path / "two", shell("exit 5"))[0] == Exit(5)


def test_what_was_not_begun_is_known(runner: RunnerProcess, tmp_path: Path) -> None:
    assert not runner.has_begun(tmp_path)
    runner.start(shell("exit 0"), tmp_path / "one", None)
    assert runner.has_begun(tmp_path / "one")


def test_a_signal_reaches_the_first_process(runner: RunnerProcess, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    script = "trap 'exit 7' TERM; touch ready; while :; do sleep 0.02; done"
    runner.start(shell(script, working_directory=str(tmp_path)), folder, None)
    wait_until("the trap", (tmp_path / "ready").exists, timeout=10)

    assert runner.signal(folder, signal.SIGTERM)
    assert ended(runner, folder) == Exit(7)
    assert not runner.signal(folder, signal.SIGTERM)


def test_memory_of_all_its_processes_counts(runner: RunnerProcess, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    script = (
        "import os, time; data = b'x' * (50 << 20); os.fork(); open('ready', 'a').write('.'); time.sleep(100)"
    )
    runner.start(python(script, working_directory=str(tmp_path)), folder, None)
    wait_until("both processes", lambda: read(tmp_path / "ready") == "..", timeout=10)
    wait_until("the memory of both", lambda: runner.memory(folder, 1 << 40) > 100 << 20, timeout=10)

    # What they share is counted once, as soon as it matters.
    assert runner.memory(folder, 1) < 90 << 20
    runner.signal(folder, signal.SIGKILL)
    assert ended(runner, folder) == Exit(137)


def test_a_container_may_stand_still(runner: RunnerProcess, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    runner.start(shell("sleep 100 & wait"), folder, None)
    pid = int((folder / "pid").read_text().split()[0])

    def state() -> str:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

    runner.hold(folder, True)
    wait_until("it to stand still", lambda: state() == "T", timeout=10)
    runner.hold(folder, False)
    wait_until("it to go on", lambda: state() == "S", timeout=10)


def test_cores_are_given_in_turn(runner: RunnerProcess, tmp_path: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))
    definition = python("import os; print(len(os.sched_getaffinity(0)))")
    _, output = ran(runner, tmp_path / "one", definition, cpu=256)

    assert output == f"{min(1, len(cores))}\n"


@pytest.mark.parametrize(
    ("argv", "changes", "expected"),
    [
        (["python", "-m", "airflow.sdk.it"], {"AIRFLOW_CTX_A": "1", "A": "1"}, True),
        (["python", "-m", "airflow.sdk.it"], {"AIRFLOW__CORE__A": "1"}, False),
        (["python", "-m", "airflow.sdk.it"], {"PYTHONPATH": "it"}, False),
        (["python", "-m", "other"], {}, False),
        (["python", "airflow.py"], {}, False),
        (["sh", "-m", "airflow.sdk.it"], {}, False),
    ],
)
def test_only_what_differs_in_nothing_that_was_read_is_a_fork(
    argv: list[str], changes: dict[str, str], expected: bool
) -> None:
    import sys

    own = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    assert can_be_forked(argv, {**own, **changes}, own) is expected
