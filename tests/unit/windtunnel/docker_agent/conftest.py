"""An Engine that answers, and the place of its containers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import APIClient

from windtunnel.docker_agent.place import Place, connected

from ..stand_ins.docker_engine import Engine

PLACE = Place("tunnel", "docker-agent", "tunnel_default", "sha256:own")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Docker's socket."""
    return tmp_path / "docker.sock"


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    engine = Engine(path)
    yield engine
    engine.close()


@pytest.fixture
def api(engine: Engine, path: Path) -> Iterator[APIClient]:
    api = connected(path)
    yield api
    api.close()
