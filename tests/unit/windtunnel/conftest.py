"""Stand-ins at our edges: a command ``docker`` that answers from a table, and a web server that does."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg2
import pytest

from windtunnel.compose.stack import ComposeStack
from windtunnel.local.stack import ProcessStack
from windtunnel.stack.base import Stack
from windtunnel.stack.errors import Finding
from windtunnel.stack.overlays import SCALE_SETTING, WITH_SETTING
from windtunnel.stack.settings import ENGINE_SETTING, ROOT, Settings

# Answers with the first rule that its arguments begin with; each call takes the rule's next output, and the
# last one stays.
DOCKER = """#!{python} -IS
import json, os, pathlib, sys, time
folder = pathlib.Path({folder!r})
def rewrite(path, rule):
    # In one piece: another process may be reading it.
    new = folder / f"new-{{os.getpid()}}"
    new.write_text(json.dumps(rule))
    new.replace(path)
arguments = " ".join(sys.argv[1:])
with (folder / "calls").open("a") as calls:
    calls.write(arguments + "\\n")
for path in sorted(folder.glob("rule-*.json")):
    rule = json.loads(path.read_text())
    if not arguments.startswith(rule["command"]):
        continue
    outputs = rule["outputs"]
    if rule["fails"]:
        rewrite(path, dict(rule, fails=rule["fails"] - 1))
        sys.exit(1)
    if len(outputs) > 1:
        rewrite(path, dict(rule, outputs=outputs[1:]))
    sys.stdout.write(outputs[0])
    sys.stderr.write(rule["errors"])
    while rule["holds"] and not (folder / "released").exists():
        time.sleep(0.01)
    sys.exit(rule["code"])
sys.stderr.write("the test has no answer for: docker " + arguments)
sys.exit(99)
"""

CONFIGURATION = {
    "name": "tunnel",
    "services": {
        "init": {"image": "tunnel-airflow", "build": {}, "user": "50000:0"},
        "postgres": {"image": "postgres:17", "user": "postgres", "depends_on": {"init": {}}},
        "localstack": {
            "image": "tunnel-localstack",
            "build": {},
            "environment": {
                "AWS_DEFAULT_REGION": "ap-southeast-2",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
            },
        },
        "webserver": {"image": "tunnel-airflow", "user": "50000:0", "depends_on": {"init": {}}},
        "scheduler": {
            "image": "tunnel-airflow",
            "user": "50000:0",
            "depends_on": {"init": {}, "localstack": {}},
        },
    },
}


class Docker:
    """The stand-in's table, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rules = 0
        program = folder / "bin" / "docker"
        program.parent.mkdir(parents=True)
        program.write_text(DOCKER.format(python=sys.executable, folder=str(folder)))
        program.chmod(0o755)
        self.path = str(program.parent)

    def answers(
        self,
        command: str,
        *outputs: str,
        code: int = 0,
        errors: str = "",
        holds: bool = False,
        fails: int = 0,
    ) -> None:
        """From now on ``docker COMMAND …`` prints the outputs, one a call; the newest rule that fits counts.

        :param holds: it ends when ``release`` is called.
        :param fails: so many calls fail before that.
        """
        self._rules += 1
        rule = {"command": command, "outputs": outputs or ("",), "code": code, "errors": errors}
        text = json.dumps({**rule, "holds": holds, "fails": fails})
        (self._folder / f"rule-{1000 - self._rules}.json").write_text(text)

    def release(self) -> None:
        (self._folder / "released").touch()

    @property
    def calls(self) -> list[str]:
        file = self._folder / "calls"
        return file.read_text().splitlines() if file.exists() else []


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
    for name in ("config", "dags", "custom", "lambdas/good"):
        (root / name).mkdir(parents=True)
    (root / "lambdas/good/lambda_function.py").write_text("def lambda_handler(event, context): ...\n")
    (root / "docker-compose.yml").touch()
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


def change(stack: Stack, **variables: str) -> None:
    """Let a stack have other settings, before it has used them."""
    stack.settings = stack.settings.updated(**variables)
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


def container(service: str, **values: Any) -> dict[str, Any]:
    """What ``docker inspect`` says about a service's healthy container; ``values`` change that."""
    wanted = {
        "id": f"id-{service}",
        "status": "running",
        "health": "healthy",
        "exit_code": 0,
        "probe": {"Start": "12:00", "ExitCode": 0, "Output": ""},
        "restart": "unless-stopped",
        "started": "11:00",
        **values,
    }
    state = {"Status": wanted["status"], "ExitCode": wanted["exit_code"], "StartedAt": wanted["started"]}
    if wanted["health"]:
        state["Health"] = {"Status": wanted["health"], "Log": [wanted["probe"]]}
    return {
        "Id": wanted["id"],
        "State": state,
        "Config": {"Labels": {"com.docker.compose.service": service}},
        "HostConfig": {"RestartPolicy": {"Name": wanted["restart"]}},
    }


def done(service: str, **values: Any) -> dict[str, Any]:
    """A one-shot that has done its work."""
    return container(service, status="exited", health="", restart="no", **values)


ALL_READY = [
    done("init"),
    *(container(name) for name in ("postgres", "localstack", "webserver", "scheduler")),
]


def answer_stack(docker: Docker, *looks: list[dict[str, Any]]) -> None:
    """Let the engine show these containers, one list a look; the last one stays."""
    docker.answers("ps --all --quiet", *(" ".join(found["Id"] for found in look) for look in looks))
    docker.answers("inspect", *(json.dumps(look) for look in looks if look))


Route = Callable[[dict[str, Any]], tuple[int, Any]]


class Server:
    """A web server with one function a method and path; a function gets the request's JSON."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.requests: list[tuple[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                key = f"{self.command} {self.path.partition('?')[0]}"
                outer.requests.append((f"{self.command} {self.path}", body))
                missing: tuple[int, Any] = (404, {"detail": f"no route {key}"})
                status, answer = outer.routes[key](body) if key in outer.routes else missing
                text = answer if isinstance(answer, str) else json.dumps(answer)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def answers(self, request: str, *answers: Any, status: int = 200) -> None:
        """Answer ``METHOD path`` with these, one a request; the last one stays."""
        left = list(answers)
        self.routes[request] = lambda _: (status, left.pop(0) if len(left) > 1 else left[0])

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.answers("POST /auth/token", {"access_token": "token"}, status=201)
    yield server
    server.stop()


class Database:
    """Stands in for the metadata database: one answer, and what it was asked."""

    def __init__(self, answer: list[tuple[object, ...]] | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Any]] = []

    def connect(self, *_: object, **__: object) -> "Database":
        if isinstance(self.answer, Exception):
            raise self.answer
        return self

    def cursor(self) -> "Database":
        return self

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, statement: str, parameters: Any = None) -> None:
        self.asked.append((statement, parameters))

    def fetchall(self) -> Any:
        return self.answer


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Database]:
    monkeypatch.setattr("windtunnel.services.secrets.database_dsn", lambda _: "postgresql://")

    def answer(value: list[tuple[object, ...]] | Exception) -> Database:
        database = Database(value)
        monkeypatch.setattr(psycopg2, "connect", database.connect)
        return database

    return answer
