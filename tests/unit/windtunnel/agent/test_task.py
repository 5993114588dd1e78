"""Tasks of one and several containers: in order, bounded, stopped, reported; over restarts of either side."""

import json
import signal
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from windtunnel.agent import container as container_module
from windtunnel.agent import task as task_module
from windtunnel.agent.task import Task
from windtunnel.waiting import wait_until

from .cloudwatch import CloudWatch
from .conftest import RunnerProcess, StandInEmulator
from .containers import container, python, shell

type Make = Callable[..., Task]


@pytest.fixture
def make(runner: RunnerProcess, emulator: StandInEmulator, cloudwatch: CloudWatch, tmp_path: Path) -> Make:
    """Makes a task of containers, which are started by the runner."""

    def make(*containers: dict[str, Any], **more: Any) -> Task:
        ordered = {"id": "task", "memory": None, "cpu": None, "task": None, **more, "containers": containers}
        return Task(ordered, tmp_path / "task", runner, emulator, lambda _: cloudwatch)  # type: ignore[arg-type]

    return make


def run(task: Task, emulator: StandInEmulator) -> dict[str, Any]:
    """Run a task to its end, and return the last report."""
    over = threading.Event()
    task.begin(lambda _: over.set())
    assert over.wait(30), emulator.reports[-1:]
    assert not task.folder.exists()
    return emulator.reports[-1]


def test_a_task_runs_and_is_reported(make: Make, emulator: StandInEmulator, cloudwatch: CloudWatch) -> None:
    last = run(make(shell("echo hello; exit 3")), emulator)

    assert (
        emulator.statuses[-3:] == ["STOPPING", "DEPROVISIONING", "STOPPED"] or "RUNNING" in emulator.statuses
    )
    assert (last["code"], last["reason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    assert last["containers"]["main"] == {"status": "STOPPED", "id": "task-main", "exit_code": 3}
    assert cloudwatch.lines() == ["hello"]
    assert last["pull_started"] <= last["started"] <= last["stopping"] <= last["stopped"]


def test_what_a_task_is_given_is_for_nobody_else_to_read(
    make: Make, emulator: StandInEmulator, tmp_path: Path
) -> None:
    task = make(shell("sleep 100"))
    task.begin(lambda _: None)
    emulator.wait_for("RUNNING")

    assert stat.S_IMODE((tmp_path / "task" / "task.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "task").stat().st_mode) == 0o700
    task.stop({"code": "UserInitiated", "reason": "enough"})
    emulator.wait_for("STOPPED")


def test_a_missing_program_is_a_start_that_failed(make: Make, emulator: StandInEmulator) -> None:
    last = run(make(container("none-such")), emulator)

    assert last["code"] == "TaskFailedToStart"
    assert "executable file not found" in last["reason"]
    assert last["containers"]["main"]["reason"] == last["reason"]
    assert "exit_code" not in last["containers"]["main"]
    assert "started" not in last


def test_a_missing_log_group_is_a_start_that_failed(
    make: Make, emulator: StandInEmulator, cloudwatch: CloudWatch
) -> None:
    cloudwatch.groups.clear()
    last = run(make(shell("touch ran")), emulator)

    assert last["code"] == "TaskFailedToStart"
    assert "failed to create Cloudwatch log stream" in last["reason"]


def test_the_end_of_an_essential_container_ends_the_others(make: Make, emulator: StandInEmulator) -> None:
    main = shell("exit 0")
    other = shell("trap 'exit 5' TERM; while :; do sleep 0.02; done", name="other", essential=False)
    last = run(make(main, other, python("import time; time.sleep(100)", name="third")), emulator)

    assert last["code"] == "EssentialContainerExited"
    assert last["containers"]["main"]["exit_code"] == 0
    assert last["containers"]["other"]["exit_code"] in (5, 143)
    assert last["containers"]["third"]["exit_code"] == 143


def test_the_end_of_another_one_ends_nothing(make: Make, emulator: StandInEmulator) -> None:
    last = run(make(shell("sleep 0.5"), shell("exit 9", name="other", essential=False)), emulator)

    assert last["containers"]["other"]["exit_code"] == 9
    assert last["containers"]["main"]["exit_code"] == 0


@pytest.mark.parametrize(
    ("condition", "first"),
    [
        ("START", shell("while [ ! -e second ]; do sleep 0.02; done", name="first", essential=False)),
        ("COMPLETE", shell("touch first; exit 1", name="first", essential=False)),
        ("SUCCESS", shell("touch first", name="first", essential=False)),
    ],
)
def test_a_container_waits_for_another_one(
    make: Make, emulator: StandInEmulator, tmp_path: Path, condition: str, first: dict[str, Any]
) -> None:
    look = "touch second" if condition == "START" else "test -e first"
    folder = str(tmp_path)
    main = shell(look, depends_on={"first": condition}, working_directory=folder)
    last = run(make(main, {**first, "working_directory": folder}), emulator)

    assert last["containers"]["main"]["exit_code"] == 0


def test_a_container_waits_until_another_one_is_healthy(
    make: Make, emulator: StandInEmulator, tmp_path: Path
) -> None:
    check = {"command": ["CMD-SHELL", "test -e up"], "interval": 0.05, "timeout": 5}
    folder = str(tmp_path)
    script = "sleep 0.3; touch up; while :; do sleep 0.05; done"
    database = shell(script, name="database", health_check=check, working_directory=folder)
    main = shell("test -e up", depends_on={"database": "HEALTHY"}, working_directory=folder)
    last = run(make(main, database), emulator)

    assert last["containers"]["main"]["exit_code"] == 0
    assert last["containers"]["database"]["health"] == "HEALTHY"


@pytest.mark.parametrize(
    ("condition", "first", "why"),
    [
        ("SUCCESS", shell("exit 2", name="first", essential=False), "first has ended with exit code 2"),
        ("HEALTHY", shell("exit 2", name="first", essential=False), "first has ended with exit code 2"),
        (
            "COMPLETE",
            shell("sleep 100", name="first", essential=False, start_timeout=1),
            "has waited 1 s for first",
        ),
    ],
)
def test_a_container_that_waits_in_vain_ends_the_task(
    make: Make, emulator: StandInEmulator, condition: str, first: dict[str, Any], why: str
) -> None:
    last = run(make(shell("exit 0", depends_on={"first": condition}), first), emulator)

    assert last["code"] == "TaskFailedToStart"
    assert why in last["reason"]
    assert "exit_code" not in last["containers"]["main"]


def test_containers_stop_before_what_they_depend_on(
    make: Make, emulator: StandInEmulator, tmp_path: Path
) -> None:
    script = "trap 'echo {} >> order; exit 0' TERM; touch {}; while :; do sleep 0.02; done"
    folder = str(tmp_path)
    first = shell(script.format("first", "first"), name="first", working_directory=folder)
    second = shell(script.format("second", "second"), depends_on={"first": "START"}, working_directory=folder)
    task = make(first, second)
    task.begin(lambda _: None)
    wait_until("both", lambda: (tmp_path / "first").exists() and (tmp_path / "second").exists(), timeout=10)
    task.stop({"code": "UserInitiated", "reason": "enough"})
    last = emulator.wait_for("STOPPED")

    assert (tmp_path / "order").read_text().split() == ["second", "first"]
    assert (last["code"], last["reason"]) == ("UserInitiated", "enough")


def test_a_container_that_does_not_end_is_killed_after_its_time(
    make: Make, emulator: StandInEmulator, tmp_path: Path
) -> None:
    script = "trap '' TERM; touch ready; while :; do sleep 0.02; done"
    task = make(shell(script, stop_timeout=1, working_directory=str(tmp_path)))
    task.begin(lambda _: None)
    wait_until("the trap", (tmp_path / "ready").exists, timeout=10)
    task.stop({"code": "UserInitiated", "reason": "enough"})
    last = emulator.wait_for("STOPPED")

    assert last["containers"]["main"]["exit_code"] == 137
    assert last["stopped"] - last["stopping"] >= 1


HUNGRY = "import time; data = bytearray(80 << 20); data[::4096] = b'x' * len(data[::4096]); time.sleep(100)"


def test_too_much_memory_ends_a_container(make: Make, emulator: StandInEmulator) -> None:
    last = run(make(python(HUNGRY, memory=40)), emulator)

    assert last["containers"]["main"]["exit_code"] == 137
    assert last["containers"]["main"]["reason"] == "OutOfMemoryError: Container killed due to memory usage"
    assert last["reason"] == "Essential container in task exited"


def test_too_much_memory_of_all_ends_the_one_that_has_most(make: Make, emulator: StandInEmulator) -> None:
    small = python("import time; time.sleep(100)", name="small")
    last = run(make(small, python(HUNGRY), memory=85), emulator)

    assert last["containers"]["main"]["reason"].startswith("OutOfMemoryError")
    assert "reason" not in last["containers"]["small"]


# Threads of the first agent end by an exception here.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_another_agent_takes_a_task_up(
    make: Make,
    runner: RunnerProcess,
    emulator: StandInEmulator,
    cloudwatch: CloudWatch,
    tmp_path: Path,
) -> None:
    script = "echo one; while [ ! -e go ]; do sleep 0.02; done; echo two; exit 3"
    first = make(shell(script, working_directory=str(tmp_path)))
    first.begin(lambda _: None)
    emulator.wait_for("RUNNING")
    wait_until("the first line", cloudwatch.lines, timeout=10)
    kill(first)
    started = emulator.wait_for("RUNNING")["started"]
    emulator.reports.clear()
    second = Task.left(tmp_path / "task", runner, emulator, lambda _: cloudwatch)
    over = threading.Event()
    second.begin(lambda _: over.set())
    (tmp_path / "go").touch()
    assert over.wait(30)

    assert emulator.reports[-1]["containers"]["main"]["exit_code"] == 3
    assert emulator.reports[-1]["started"] == started
    assert cloudwatch.lines() == ["one", "two"]


def kill(task: Task) -> None:
    """End the threads of a task, as they end with an agent that is killed."""

    def end(*_: object, **__: object) -> None:
        sys.exit()

    task._report = task.containers["main"].output.ship = end  # type: ignore[method-assign, union-attr, assignment]

    def has_ended() -> bool:
        return not any("task" in thread.name for thread in threading.enumerate())

    wait_until("the threads to end", has_ended, timeout=10)


def left(folder: Path, definition: dict[str, Any], **files: str) -> Path:
    """What an agent leaves that was killed before a container began."""
    (folder / "main").mkdir(parents=True)
    ordered = {"id": "task", "memory": None, "cpu": None, "task": None, "containers": [definition]}
    (folder / "task.json").write_text(json.dumps(ordered))
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)
    return folder


def test_a_container_that_has_not_begun_is_begun_by_the_next_agent(
    runner: RunnerProcess, emulator: StandInEmulator, cloudwatch: CloudWatch, tmp_path: Path
) -> None:
    folder = left(tmp_path / "task", shell("exit 4"))
    (folder / "main" / "started").write_text("1.0")
    last = run(Task.left(folder, runner, emulator, lambda _: cloudwatch), emulator)

    assert last["containers"]["main"]["exit_code"] == 4


def test_a_wish_to_stop_outlives_the_agent(
    runner: RunnerProcess, emulator: StandInEmulator, cloudwatch: CloudWatch, tmp_path: Path
) -> None:
    wish = json.dumps({"code": "UserInitiated", "reason": "enough"})
    folder = left(tmp_path / "task", shell("exit 4"), stopping_json=wish)
    last = run(Task.left(folder, runner, emulator, lambda _: cloudwatch), emulator)

    assert last["reason"] == "enough"
    assert last["containers"]["main"]["status"] == "PENDING"


def test_what_a_killed_runner_ran_has_ended(
    runner: RunnerProcess, emulator: StandInEmulator, cloudwatch: CloudWatch, tmp_path: Path
) -> None:
    folder = left(tmp_path / "task", shell("exit 4"))
    (folder / "main" / "started").write_text("1.0")
    (folder / "main" / "pid").write_text("1 another")
    last = run(Task.left(folder, runner, emulator, lambda _: cloudwatch), emulator)

    assert (last["code"], last["reason"]) == ("EssentialContainerExited", "The agent was killed")
    assert last["containers"]["main"]["exit_code"] == 137


def test_the_end_is_reported_when_the_emulator_is_back(
    make: Make, emulator: StandInEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_module, "REPORT_INTERVAL", 0.05)
    emulator.is_away = True
    over = threading.Event()
    task = make(shell("exit 3"))
    task.begin(lambda _: over.set())
    wait_until("the end", lambda: task.state["status"] == "STOPPED", timeout=10)
    assert not over.is_set()
    emulator.is_away = False

    assert over.wait(10)
    assert emulator.statuses == ["STOPPED"]


def test_a_task_that_nobody_knows_is_stopped(make: Make, emulator: StandInEmulator) -> None:
    emulator.is_new = True
    last = run(make(python("import time; time.sleep(100)")), emulator)

    assert last["reason"] == "The emulator knows nothing of this task"


def test_a_failure_of_the_agent_ends_the_task_and_leaves_nothing(
    make: Make, runner: RunnerProcess, emulator: StandInEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr(Task, "_see_status", fail)
    last = run(make(python("import time; time.sleep(100)")), emulator)

    assert last["code"] == "ServiceSchedulerInitiated"
    assert "a fault" in last["reason"]
    table = runner._table.entries()
    assert [pid for pid, one in table.items() if one.parent == runner.process.pid] == [runner.agent]


def test_output_that_cloudwatch_does_not_take_holds_the_container_back(
    make: Make,
    emulator: StandInEmulator,
    cloudwatch: CloudWatch,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(container_module, "MOST_BACKLOG", 1 << 16)
    script = "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"
    task = make(shell(script))
    task.begin(lambda _: None)
    emulator.wait_for("RUNNING")
    cloudwatch.is_away = True
    stat_of = Path("/proc") / (tmp_path / "task/main/pid").read_text().split()[0] / "stat"

    def state() -> str:
        return stat_of.read_text().rpartition(")")[2].split()[0]

    wait_until("it to stand still", lambda: state() == "T", timeout=20)
    cloudwatch.is_away = False
    wait_until("it to go on", lambda: state() != "T", timeout=20)
    task.stop({"code": "UserInitiated", "reason": "enough"})
    last = emulator.wait_for("STOPPED")
    assert last["containers"]["main"]["exit_code"] == 128 + signal.SIGTERM
