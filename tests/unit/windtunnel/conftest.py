"""Fixtures with the stand-ins at our edges, and a checkout with nothing of its own."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from windtunnel.compose.stack import ComposeStack
from windtunnel.local.stack import ProcessStack
from windtunnel.stack.base import Stack
from windtunnel.stack.errors import Finding
from windtunnel.stack.overlays import SCALE_SETTING
from windtunnel.stack.repository import WITH_SETTING
from windtunnel.stack.settings import ENGINE_SETTING, ROOT, Settings

from .stand_ins.database import Database
from .stand_ins.docker import CONFIGURATION, Docker
from .stand_ins.web_server import Server


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """The command ``docker`` of this test: a stack of five services, none of which has a container."""
    docker = Docker(tmp_path / "docker")
    monkeypatch.setenv("PATH", f"{docker.path}:/usr/bin:/bin")
    docker.answers("compose config", json.dumps(CONFIGURATION))
    docker.answers("version", "26.1.5+dfsg1\n")
    docker.answers("compose version", "2.26.1-4\n")
    docker.answers("ps", "")
    docker.answers("compose logs", "the last line\n")
    return docker


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one good function and otherwise empty folders."""
    root = tmp_path / "checkout"
    for name in ("config", "dags", "custom", "plugins", "lambdas/good"):
        (root / name).mkdir(parents=True)
    (root / "lambdas/good/lambda_function.py").write_text("def lambda_handler(event, context): ...\n")
    for name in ("docker-compose.yml", "requirements.txt"):
        (root / name).touch()
    (root / "Dockerfile").write_text("FROM python:3.13-slim-trixie AS base\nFROM base AS airflow\n")
    return root


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def debian_root(monkeypatch: pytest.MonkeyPatch, docker: Docker) -> None:
    (Path(docker.path) / "apt-get").touch(mode=0o755)
    monkeypatch.setattr("os.geteuid", lambda: 0)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)


def offline_script(checkout: Path, name: str, text: str) -> None:
    script = checkout / "offline" / name
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)


def updated(settings: Settings, **variables: str) -> Settings:
    return replace(settings, variables={**settings.variables, **variables})


def change(stack: Stack, **variables: str) -> None:
    """Let a stack have other settings, before it has used them."""
    stack.settings = updated(stack.settings, **variables)
    stack.__dict__.pop("command_variables", None)


def problems(findings: Iterable[Finding]) -> list[str]:
    return [finding.problem for finding in findings]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have set any of these; `./windtunnel test` sets some."""
    read_by_compose = re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text())
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "COMPOSE_FILE",
        "POSTGRES_PORT",
        *(ENGINE_SETTING, WITH_SETTING, SCALE_SETTING),
        *read_by_compose,
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def compose(docker: Docker, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> ComposeStack:
    monkeypatch.setenv("WEBSERVER_PORT", "0")
    monkeypatch.setenv("LOCALSTACK_PORT", "0")
    monkeypatch.setattr("windtunnel.stack.start.POLL", 0.01)
    return ComposeStack(Settings.of(root=checkout))


@pytest.fixture
def local(docker: Docker, checkout: Path) -> ProcessStack:
    """The local engine of the same checkout, with the same services; nothing of it runs."""
    local = ProcessStack(
        Settings.of("tunnel", {"WEBSERVER_PORT": "0", "LOCALSTACK_PORT": "0"}, root=checkout)
    )
    local.__dict__["configuration"] = CONFIGURATION
    return local


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.answers("POST /auth/token", {"access_token": "token"}, status=201)
    yield server
    server.stop()


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Database]:
    monkeypatch.setattr("windtunnel.services.secrets.database_dsn", lambda _: "postgresql://")

    def answer(value: list[tuple[object, ...]] | Exception) -> Database:
        database = Database(value)
        monkeypatch.setattr(psycopg2, "connect", database.connect)
        return database

    return answer
