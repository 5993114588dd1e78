"""Containers of tasks as Docker is asked for them, and how they end; over restarts of the agent."""

import signal
from pathlib import Path
from typing import Any

import pytest
from docker import APIClient

from windtunnel.agent.runtime import CannotStart, Exit
from windtunnel.docker_agent.__main__ import remove_all
from windtunnel.docker_agent.following import REMOVED
from windtunnel.docker_agent.runtime import DockerRuntime
from windtunnel.waiting import wait_until

from ..agent.containers import container
from ..stand_ins.docker_engine import Engine
from .conftest import PLACE

NAME = "tunnel-task-main"
ALONE = {"cpu": None, "memory": None, "size": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """That of a container of a task."""
    folder = tmp_path / "tasks" / "task" / "main"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def runtime(api: APIClient, folder: Path) -> DockerRuntime:
    return DockerRuntime(api, PLACE, folder.parent.parent)


def start(runtime: DockerRuntime, folder: Path, *command: str, **more: Any) -> None:
    runtime.start(container(*command, **{"task": ALONE, **more}), folder, None)


def end_of(runtime: DockerRuntime, folder: Path) -> Exit:
    return wait_until("the container's end", lambda: runtime.exit(folder), timeout=20, interval=0.02)


def test_a_container_is_what_its_definition_says(
    runtime: DockerRuntime, folder: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localstack:4566")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "here")
    monkeypatch.setenv("AGENT_NAME", "docker")
    definition = {
        "entry_point": ["sh", "-c"],
        "environment": {"A": "1", "AWS_DEFAULT_REGION": "there"},
        "working_directory": "/work",
        "user": "1000:1000",
    }
    start(runtime, folder, "exit 0", **definition)

    made = engine.containers[NAME]["Config"]
    assert (made["Image"], made["Entrypoint"], made["Cmd"]) == ("it", ["sh", "-c"], ["exit 0"])
    assert (made["WorkingDir"], made["User"]) == ("/work", "1000:1000")
    given = dict(one.split("=", 1) for one in made["Env"])
    assert {
        name: given.get(name) for name in ("A", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AGENT_NAME")
    } == {
        "A": "1",
        "AWS_ENDPOINT_URL": "http://localstack:4566",
        "AWS_DEFAULT_REGION": "there",
        "AGENT_NAME": None,
    }


def test_it_has_nothing_of_the_machine(runtime: DockerRuntime, folder: Path, engine: Engine) -> None:
    start(runtime, folder)

    host = engine.containers[NAME]["HostConfig"]
    assert host["NetworkMode"] == "tunnel_default"
    assert (host["CapDrop"], host["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
    assert not {"SYS_ADMIN", "NET_RAW", "MKNOD", "SYS_PTRACE"} & set(host["CapAdd"])
    assert not host["Privileged"]
    assert not {"Binds", "Mounts", "Devices", "PidMode", "PortBindings", "Init"} & host.keys()


@pytest.mark.parametrize(
    ("own", "task", "limits"),
    [
        ({"memory": 64, "cpu": 256}, {"memory": 512, "cpu": 512}, (64, 256, 50_000)),
        ({}, {"memory": 512, "cpu": 2048}, (512, None, 200_000)),
        ({"memory": 64, "cpu": 1}, {"memory": None, "cpu": None}, (64, 2, None)),
        ({}, {"memory": None, "cpu": None}, (None, None, None)),
    ],
)
def test_limits_are_its_own_or_the_tasks(
    runtime: DockerRuntime, folder: Path, engine: Engine, own: Any, task: Any, limits: Any
) -> None:
    start(runtime, folder, **own, task={**task, "size": 1})

    host = engine.containers[NAME]["HostConfig"]
    memory = limits[0] and limits[0] << 20
    assert (host.get("Memory"), host.get("CpuShares"), host.get("CpuQuota")) == (memory, *limits[1:])
    assert host.get("MemorySwap") == memory


@pytest.mark.parametrize(
    ("command", "ending"),
    [("exit 0", Exit(0)), ("exit 3", Exit(3)), ("out of memory", Exit(137))],
)
def test_how_it_ends(runtime: DockerRuntime, folder: Path, command: str, ending: Exit) -> None:
    start(runtime, folder, command)

    assert end_of(runtime, folder) == ending
    assert (folder / "out-of-memory").exists() == (command == "out of memory")


def test_a_missing_program_is_a_start_that_failed(
    runtime: DockerRuntime, folder: Path, engine: Engine
) -> None:
    with pytest.raises(CannotStart, match=r"^CannotStartContainerError: .*executable file not found"):
        start(runtime, folder, "missing")

    assert not engine.containers
    assert not runtime.has_begun(folder)


def test_a_missing_image_is_pulled_and_docker_says_why_it_cannot_be(
    runtime: DockerRuntime, folder: Path
) -> None:
    with pytest.raises(CannotStart, match=r"^CannotPullContainerError: .*pull access denied for other"):
        start(runtime, folder, image="other:3")


def test_its_output_is_in_its_file_before_it_has_ended(
    runtime: DockerRuntime, folder: Path, engine: Engine
) -> None:
    engine.output[NAME] = [b"one\n", b"two\nthree"]
    start(runtime, folder, "exit 0")
    end_of(runtime, folder)

    assert (folder / "output").read_bytes() == b"one\ntwo\nthree"


def test_the_next_agent_goes_on_where_this_one_has_ended(
    runtime: DockerRuntime, api: APIClient, folder: Path, engine: Engine
) -> None:
    engine.output[NAME] = [b"one\n", b"two\n", b"three\n"]
    start(runtime, folder)
    (folder / "output").write_bytes(b"one\ntw")
    after = DockerRuntime(api, PLACE, folder.parent.parent)

    assert after.has_begun(folder)
    assert after.exit(folder) is None
    engine.end(NAME, 5)
    assert end_of(after, folder) == Exit(5)
    assert (folder / "output").read_bytes() == b"one\ntwo\nthree\n"


def test_what_has_no_output_to_keep_is_waited_for(
    runtime: DockerRuntime, folder: Path, engine: Engine
) -> None:
    start(runtime, folder, "exit 4", logs=None)

    assert engine.containers[NAME]["HostConfig"]["LogConfig"] == {"Type": "none"}
    assert end_of(runtime, folder) == Exit(4)
    assert not (folder / "output").exists()


def test_one_that_somebody_removes_has_ended(runtime: DockerRuntime, folder: Path, engine: Engine) -> None:
    start(runtime, folder, logs=None)
    del engine.containers[NAME]

    assert end_of(runtime, folder) == Exit(137, REMOVED)


def test_containers_of_tasks_that_are_gone_are_removed_by_the_next_agent(
    runtime: DockerRuntime, api: APIClient, folder: Path, engine: Engine
) -> None:
    start(runtime, folder)
    other = folder.parent.parent / "other" / "main"
    other.mkdir(parents=True)
    start(runtime, other)
    (other / "begun").unlink()
    other.rmdir()
    other.parent.rmdir()
    DockerRuntime(api, PLACE, folder.parent.parent)

    assert list(engine.containers) == [NAME]


def test_a_service_that_is_stopped_leaves_no_container(
    runtime: DockerRuntime, api: APIClient, folder: Path, engine: Engine
) -> None:
    start(runtime, folder)
    for name, labels in {"of-a-dag": PLACE.labels("proxy"), "of-another": {"mine": "1"}}.items():
        body = {"Image": "it", "Labels": labels, "HostConfig": {}}
        engine.answer("POST", "/containers/create", {"name": name}, body)
    remove_all(api, PLACE)

    assert list(engine.containers) == ["of-another"]


def test_what_was_made_and_not_started_is_made_again(
    runtime: DockerRuntime, folder: Path, engine: Engine
) -> None:
    engine.answer(
        "POST", "/containers/create", {"name": NAME}, {"Image": "it", "Labels": {}, "HostConfig": {}}
    )
    assert not runtime.has_begun(folder)
    start(runtime, folder, "exit 6")

    assert end_of(runtime, folder) == Exit(6)


def test_a_signal_to_end_is_the_one_that_the_image_names(
    runtime: DockerRuntime, folder: Path, engine: Engine
) -> None:
    start(runtime, folder)
    engine.containers[NAME]["Config"]["StopSignal"] = "SIGINT"

    assert runtime.signal(folder, signal.SIGTERM)
    assert runtime.signal(folder, signal.SIGKILL)
    assert [number for _, number in engine.signals] == ["SIGINT", "9"]
    engine.end(NAME)
    assert not runtime.signal(folder, signal.SIGTERM)


def test_containers_of_a_task_share_a_network_that_goes_with_the_last(
    runtime: DockerRuntime, folder: Path, engine: Engine
) -> None:
    engine.images.add(PLACE.image)
    other = folder.with_name("other")
    other.mkdir()
    for one in (folder, other):
        start(runtime, one, task={**ALONE, "size": 2})

    made = {name: one["HostConfig"]["NetworkMode"] for name, one in engine.containers.items()}
    assert made == {
        "tunnel-task": "tunnel_default",
        NAME: "container:tunnel-task",
        "tunnel-task-other": "container:tunnel-task",
    }
    runtime.remove(folder)
    assert "tunnel-task" in engine.containers
    runtime.remove(other)
    assert not engine.containers
    assert not other.exists()
