from pathlib import Path

import pytest

from windtunnel.local import resources
from windtunnel.local.stack import ProcessStack
from windtunnel.stack.service import Service

from ..conftest import problems


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
