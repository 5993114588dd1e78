"""moto's records of ECS outlive LocalStack."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from moto.ecs.models import ecs_backends

from windtunnel_emulator.containers import records

from ..calls import ACCOUNT, REGION


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "config", SimpleNamespace(dirs=SimpleNamespace(data=str(tmp_path))))
    ecs_backends.reset()


def create(operation: str) -> None:
    def handler(context: Any, request: Any) -> str:
        ecs_backends[ACCOUNT][REGION].create_cluster("it", None)  # type: ignore[no-untyped-call, unused-ignore, call-arg, arg-type]
        return "done"

    assert records.keeping("ecs", operation, handler)(None, {}) == "done"  # type: ignore[arg-type]


def clusters() -> list[str]:
    return list(ecs_backends[ACCOUNT][REGION].clusters)


def test_what_was_changed_is_there_again() -> None:
    create("CreateCluster")
    ecs_backends.reset()
    records.restore("ecs")

    assert clusters() == ["it"]


def test_a_look_writes_nothing(tmp_path: Path) -> None:
    create("DescribeClusters")

    assert list(tmp_path.iterdir()) == []


def test_without_a_file_nothing_is_restored() -> None:
    records.restore("ecs")

    assert clusters() == []


def test_a_damaged_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    create("CreateCluster")
    path = tmp_path / "containers" / "ecs.pickle"
    path.write_bytes(path.read_bytes()[:20])
    ecs_backends.reset()
    records.restore("ecs")

    assert clusters() == []
    assert "is damaged" in caplog.text
    assert path.with_suffix(".damaged").exists()
