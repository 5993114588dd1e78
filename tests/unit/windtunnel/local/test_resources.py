from pathlib import Path

import pytest

from windtunnel.local import resources
from windtunnel.local.stack import ProcessStack
from windtunnel.stack import ports
from windtunnel.stack.errors import StackError
from windtunnel.stack.service import Service
from windtunnel.stack.settings import Settings

from ..conftest import problems
from .conftest import made


def test_too_little_free_memory_for_processes(local: ProcessStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "LEAST_FREE_MEMORY", 10**18)

    (finding,) = resources.memory_and_disk(local)
    assert "GiB of memory are free; the stack wants" in finding.problem

    # What the running stack holds is not free.
    running = [Service("scheduler", state="running")]
    monkeypatch.setattr(local, "services", lambda: running)
    assert list(resources.memory_and_disk(local)) == []


def test_too_little_room_for_the_checkout(local: ProcessStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "LEAST_ROOM", 10**18)

    (finding,) = resources.memory_and_disk(local)

    assert f"GiB are free at {local.root}" in finding.problem


def test_what_the_local_engine_needs_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(resources.programs()) == []

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.platform", "darwin")
    assert problems(resources.programs()) == [
        "the local engine runs on Linux, and this is darwin",
        "there is no command `bash`",
        "there is no command `setpriv`",
    ]


# Ports


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The ports that others listen on."""
    taken: set[int] = set()
    monkeypatch.setattr(ports, "is_taken", lambda port: port in taken)
    monkeypatch.setattr(ports, "process_on", lambda _: "nginx (process 1)")
    return taken


def test_a_port_is_the_usual_one_where_it_is_free_and_any_other_else(root: Path, taken: set[int]) -> None:
    taken.add(4566)
    lines: list[str] = []

    chosen = resources.chosen_ports(Settings.of("tunnel", root=root), lines.append)

    assert chosen["webserver"] == 8080
    assert chosen["localstack"] not in (0, 4566)
    assert chosen["postgres"] != 0
    assert lines == ["port 4566 is in use by nginx (process 1): localstack takes another"]


def test_a_port_that_is_set_is_taken_or_refused(root: Path, taken: set[int]) -> None:
    stack = made(root, WEBSERVER_PORT="8081", LOCALSTACK_PORT="0")
    chosen = resources.chosen_ports(stack.settings, lambda _: None)
    assert chosen["webserver"] == 8081
    assert chosen["localstack"] not in (0, 4566)

    taken.add(8081)
    with pytest.raises(StackError, match="port 8081 is in use by nginx") as caught:
        resources.chosen_ports(stack.settings, lambda _: None)
    assert "Set WEBSERVER_PORT" in caught.value.next_step
