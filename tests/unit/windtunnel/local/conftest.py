"""A stack of processes with small stand-ins for its services, under a real supervisord."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from windtunnel.local import processes
from windtunnel.local.stack import ProcessStack
from windtunnel.services import probes
from windtunnel.stack.service import Service
from windtunnel.stack.settings import ROOT, Settings

COMPOSE_FILE = """
x-volumes: &volumes
  - { type: bind, source: ./entrypoint.sh, target: /entrypoint.sh, read_only: true }
  - { type: bind, source: "${DAGS_FOLDER:-./dags}", target: /opt/airflow/dags }
  - { type: volume, source: secrets, target: /run/secrets/windtunnel }
x-airflow: &airflow
  image: ${WINDTUNNEL_IMAGE:-${COMPOSE_PROJECT_NAME}}-airflow
  restart: unless-stopped
  env_file: [{ path: "${ENV_FILE:-.env}", required: false }]
  environment:
    SECRETS_FOLDER: /run/secrets/windtunnel
    AIRFLOW_HOME: /opt/airflow
    AWS_ENDPOINT_URL: http://localstack:4566
    POSTGRES_ADDRESS: postgres:5432
    LEVEL: ${LEVEL:-info}
  volumes: *volumes
services:
  init: { <<: *airflow, command: init, restart: "no" }
  postgres:
    image: postgres:17
    restart: unless-stopped
    entrypoint: [/entrypoint.sh, postgres]
    command: [-c, synchronous_commit=off]
    depends_on: { init: { condition: service_started } }
    environment: { SECRETS_FOLDER: /run/secrets/windtunnel, POSTGRES_USER: airflow }
    volumes: *volumes
  localstack:
    image: ${WINDTUNNEL_IMAGE:-${COMPOSE_PROJECT_NAME}}-localstack
    restart: unless-stopped
    command: localstack
    environment: { GATEWAY_LISTEN: "0.0.0.0:4566", INIT: /etc/localstack/init }
    healthcheck: { start_period: 3m, test: "true" }
    volumes: *volumes
  scheduler:
    <<: *airflow
    command: scheduler --one "two words"
    stop_grace_period: 1m30s
    depends_on:
      init: { condition: service_completed_successfully }
      postgres: { condition: service_started }
      localstack: { condition: service_healthy }
volumes: { secrets: }
"""


CHOSEN = {"webserver": 41, "localstack": 42, "postgres": 43}


@pytest.fixture
def sick(monkeypatch: pytest.MonkeyPatch) -> dict[str, probes.Unhealthy]:
    """What the health check of a service says, by service; all others are healthy once they have begun."""
    said: dict[str, probes.Unhealthy] = {}

    def probe_of(name: str) -> Callable[[Mapping[str, str], float], None]:
        def probe(environment: Mapping[str, str], started: float) -> None:
            if name in said:
                raise said[name]
            if not Path(environment["TMPDIR"], "ready").exists():
                raise probes.Unhealthy("not ready yet")

        return probe

    for name in probes.PROBES:
        monkeypatch.setitem(probes.PROBES, name, probe_of(name))
    return said


def entrypoint(root: Path, **services: str) -> None:
    """Let each of these services do that in a shell at first; then all but ``init`` stay."""
    cases = "".join(f"  {name}) {what} ;;\n" for name, what in services.items())
    script = root / "entrypoint.sh"
    script.write_text(
        f'#!/usr/bin/env bash\necho "$* begins"\ncase $1 in\n{cases}esac\n'
        '[ "$1" != init ] || exit 0\n[ "$1" != fork-server ] || touch "$FORK_SERVER_SOCKET"\n'
        'touch "$TMPDIR/ready"\nexec sleep 600\n'
    )
    script.chmod(0o755)


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout with a small stack, whose path leaves room for a socket's; nothing of it is left running."""
    monkeypatch.setattr("windtunnel.stack.start.POLL", 0.02)
    with tempfile.TemporaryDirectory(prefix="wt ") as folder:
        root = Path(folder)
        (root / "docker-compose.yml").write_text(COMPOSE_FILE)
        for name in ("src", "locks", "emulator"):
            (root / name).symlink_to(ROOT / name)
        (root / "dags").mkdir()
        (root / "requirements.txt").touch()
        entrypoint(root)
        yield root
        processes.end(root)


def made(root: Path, *files: Path, **environment: str) -> ProcessStack:
    free = {"WEBSERVER_PORT": "0", "LOCALSTACK_PORT": "0"}
    return ProcessStack(Settings.of("tunnel", free | environment, root=root, overlays=files))


@pytest.fixture
def stack(root: Path) -> ProcessStack:
    return made(root)


def info(state: str, **changed: Any) -> dict[str, Any]:
    """What supervisord says of a service that it started a second ago."""
    return {
        "name": "scheduler",
        "statename": state,
        "start": int(time.time()) - 1,
        "pid": 7,
        "exitstatus": 0,
        **changed,
    }


@pytest.fixture
def written(stack: ProcessStack) -> ProcessStack:
    """An engine that knows its ports, as one of a running stack does."""
    stack.layout.run.mkdir(parents=True)
    (stack.layout.run / "ports.json").write_text(json.dumps(CHOSEN))
    return stack


@pytest.fixture
def running(stack: ProcessStack, sick: dict[str, probes.Unhealthy]) -> ProcessStack:
    stack.up()
    return stack


def service(stack: ProcessStack, name: str) -> Service:
    return next(service for service in stack.services() if service.name == name)


def process(stack: ProcessStack, name: str) -> psutil.Process:
    return psutil.Process(int(service(stack, name).id))


def supervisord(stack: ProcessStack) -> psutil.Process:
    return psutil.Process(int((stack.layout.run / "supervisord.pid").read_text()))
