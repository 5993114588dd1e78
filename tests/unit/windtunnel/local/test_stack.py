import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

import psutil
import pytest

from windtunnel.local import fork_server, processes
from windtunnel.local import stack as local_stack
from windtunnel.local.fork_client import SOCKET_SETTING
from windtunnel.local.stack import ProcessStack
from windtunnel.services import probes
from windtunnel.stack import ports
from windtunnel.stack.errors import ServiceFailed, StackError
from windtunnel.stack.service import Service
from windtunnel.stack.settings import ROOT, Settings
from windtunnel.stack.start import Progress
from windtunnel.waiting import wait_until

COMPOSE_FILE = """
x-volumes: &volumes
  - { type: bind, source: ./entrypoint.sh, target: /entrypoint.sh, read_only: true }
  - { type: bind, source: "${DAGS_FOLDER:-./dags}", target: /opt/airflow/dags }
  - { type: volume, source: secrets, target: /run/secrets/windtunnel }
x-airflow: &airflow
  image: ${WINDTUNNEL_IMAGE:-${COMPOSE_PROJECT_NAME}}-airflow
  restart: unless-stopped
  environment:
    SECRETS_FOLDER: /run/secrets/windtunnel
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
        '[ "$1" != init ] || exit 0\n[ "$1" != preload ] || touch "$PRELOAD_SOCKET"\n'
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


# The compose file


def test_variables_are_filled_in_as_compose_does(root: Path) -> None:
    (root / "docker-compose.yml").write_text(
        """
        services:
          it:
            image: ${IMAGE:-${COMPOSE_PROJECT_NAME}}-airflow
            environment:
              DEFAULT: ${UNSET:-a default}
              EMPTY_TOO: ${EMPTY:-a default}
              SET: $SET and ${SET}
              NOTHING: "[${UNSET}]"
              DOLLARS: $$SET costs $$5
              BACKSLASH: 'two \\\\ one \\'
              FROM_FILE: ${OF_DOTENV}
            ports: ["127.0.0.1:${PORT:-80}:80"]
        """
    )
    (root / ".env").write_text("# OF_COMMENT=1\nOF_DOTENV='from the file'\nSET=hidden\n")

    configuration = made(root, SET="own", EMPTY="").configuration

    service = configuration["services"]["it"]
    assert service["environment"] == {
        "DEFAULT": "a default",
        "EMPTY_TOO": "a default",
        "SET": "own and own",
        "NOTHING": "[]",
        "DOLLARS": "$SET costs $5",
        "BACKSLASH": "two " + 2 * chr(92) + " one " + chr(92),
        "FROM_FILE": "from the file",
    }
    assert service["image"] == "tunnel-airflow"
    assert service["ports"] == ["127.0.0.1:80:80"]


def test_a_variable_that_must_be_set_is_named_with_its_file(root: Path) -> None:
    (root / "docker-compose.yml").write_text("services: {it: {image: '${IMAGE:?set it to a name}'}}")

    with pytest.raises(StackError, match=r"docker-compose\.yml cannot be used: .*IMAGE: set it to a name"):
        _ = made(root).configuration


@pytest.mark.parametrize("text", ["a: [", None])
def test_a_file_that_cannot_be_read_is_named(root: Path, text: str | None) -> None:
    file = root / "broken.yml"
    if text:
        file.write_text(text)

    with pytest.raises(StackError, match=r"broken\.yml cannot be used"):
        _ = made(root, file).configuration


def test_later_files_lie_over_earlier_ones(root: Path) -> None:
    override = "services: {scheduler: {environment: {LEVEL: override, OWN: '1'}}}"
    (root / "docker-compose.override.yml").write_text(override)
    overlay = root / "overlay.yml"
    overlay.write_text("services: {scheduler: {environment: {LEVEL: overlay}, command: [scheduler]}}")

    scheduler = made(root, overlay).configuration["services"]["scheduler"]

    assert scheduler["command"] == ["scheduler"]
    assert scheduler["environment"]["LEVEL"] == "overlay"
    assert scheduler["environment"]["OWN"] == "1"
    assert scheduler["environment"]["POSTGRES_ADDRESS"] == "postgres:5432"


def test_what_may_be_a_list_or_a_mapping_is_the_same(root: Path) -> None:
    overlay = root / "overlay.yml"
    overlay.write_text(
        """
        services:
          scheduler:
            environment: [LEVEL=high=er, OF_THE_SHELL, NOT_SET]
            volumes: [{ type: bind, source: ./more, target: /opt/more }]
          localstack:
            environment: { "YES": true, NUMBER: 1.50, OF_THE_SHELL: }
            depends_on: [init]
        """
    )
    stack = made(root, overlay, OF_THE_SHELL="mine")

    scheduler, localstack = (stack.configuration["services"][name] for name in ("scheduler", "localstack"))
    assert [volume["target"] for volume in scheduler["volumes"]][-2:] == [
        "/run/secrets/windtunnel",
        "/opt/more",
    ]
    assert localstack["depends_on"] == {"init": {"condition": "service_started"}}
    given = stack._definition("scheduler", CHOSEN)["environment"]
    assert (given["LEVEL"], given["OF_THE_SHELL"], given["POSTGRES_ADDRESS"]) == (
        "high=er",
        "mine",
        "127.0.0.1:43",
    )
    given = stack._definition("localstack", CHOSEN)["environment"]
    assert (given["YES"], given["NUMBER"], given["OF_THE_SHELL"]) == ("true", "1.5", "mine")


def test_a_folder_that_makes_no_name_wants_one(tmp_path: Path) -> None:
    (tmp_path / "___").mkdir()

    with pytest.raises(StackError, match="'___' makes no project name"):
        _ = ProcessStack(Settings.of(root=tmp_path / "___")).folder


@pytest.mark.parametrize(
    ("folder", "name"),
    [("tunnel", "tunnel"), ("My Checkout 2", "mycheckout2"), ("_under.score_", "underscore_")],
)
def test_the_project_is_called_like_the_folder(tmp_path: Path, folder: str, name: str) -> None:
    (tmp_path / folder).mkdir()

    assert ProcessStack(Settings.of(root=tmp_path / folder)).project == name
    assert ProcessStack(Settings.of("other", root=tmp_path / folder)).project == "other"


# What is started


def test_an_airflow_service_gets_what_its_image_and_the_file_would_give_it(stack: ProcessStack) -> None:
    definition = stack._definition("scheduler", CHOSEN)

    run = stack.run_folder
    assert definition["command"] == [f"{run}/root/entrypoint.sh", "scheduler", "--one", "two words"]
    assert definition["folder"] == str(processes.temporary_folder(run, "scheduler"))
    environment = definition["environment"]
    assert environment["TMPDIR"] == definition["folder"]
    assert environment["PATH"].split(":")[0] == str(stack.venvs.python("airflow").parent)
    assert environment["AIRFLOW_HOME"] == f"{run}/root/opt/airflow"
    assert environment["PYTHONPATH"].split(":") == [f"{run}/root/opt/airflow", f"{run}/root/opt/windtunnel"]
    assert environment["SECRETS_FOLDER"] == f"{run}/root/run/secrets/windtunnel"
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:42"
    assert environment["POSTGRES_ADDRESS"] == "127.0.0.1:43"
    assert (environment["AIRFLOW__API__HOST"], environment["AIRFLOW__API__PORT"]) == ("127.0.0.1", "41")


def test_nothing_is_inherited_from_the_shell(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONSTARTUP", "/mine")
    monkeypatch.setenv("AWS_PROFILE", "prod")
    monkeypatch.setenv("HOME", "/mine")

    for name in made(root).service_names:
        environment = made(root)._definition(name, CHOSEN)["environment"]
        assert not {"PYTHONSTARTUP", "AWS_PROFILE"} & set(environment)
        assert environment["HOME"] != "/mine"
        assert "/mine" not in environment["PATH"]


def test_localstacks_functions_have_their_own_python(stack: ProcessStack) -> None:
    environment = stack._definition("localstack", CHOSEN)["environment"]

    assert environment["LAMBDA_RUNTIME_PYTHON"] == str(stack.venvs.python("lambda"))
    assert environment["FILESYSTEM_ROOT"] == f"{stack.run_folder}/root"
    assert environment["GATEWAY_LISTEN"] == "127.0.0.1:42"
    assert environment["INIT"] == f"{stack.run_folder}/root/etc/localstack/init"


def test_postgres_is_told_where_to_listen_after_what_the_file_says(stack: ProcessStack) -> None:
    command = stack._definition("postgres", CHOSEN)["command"]

    assert command[1:4] == ["postgres", "-c", "synchronous_commit=off"]
    assert command[4::2] == ["-c"] * len(command[4::2])
    assert set(command[5::2]) >= {"listen_addresses=127.0.0.1", "port=43", "unix_socket_directories="}


@pytest.mark.parametrize(
    ("value", "translated"),
    [
        ("http://webserver:8080/execution/", "http://127.0.0.1:41/execution/"),
        ("localhost:4566", "127.0.0.1:42"),
        ("postgresql://a:b@postgres:5432/airflow", "postgresql://a:b@127.0.0.1:43/airflow"),
        ("postgres:54321", "postgres:54321"),
        ("postgresql://u:p@warehouse.corp:5432/db", "postgresql://u:p@warehouse.corp:5432/db"),
        ("my-postgres:5432", "my-postgres:5432"),
        ("8080", "8080"),
        ("/opt/airflow/dags:/etc/x", "RUN/root/opt/airflow/dags:RUN/root/etc/x"),
        ("cat /run/secrets/it", "cat RUN/root/run/secrets/it"),
        ("arn:aws:s3:::bucket/opt/x", "arn:aws:s3:::bucket/opt/x"),
        ("s3://opt/x", "s3://opt/x"),
        ("/dev/null", "/dev/null"),
    ],
)
def test_addresses_and_paths_of_containers_are_translated(
    stack: ProcessStack, value: str, translated: str
) -> None:
    assert stack._translated(value, CHOSEN) == translated.replace("RUN", str(stack.run_folder))


def test_ports_may_change_places(stack: ProcessStack) -> None:
    chosen = {"webserver": 4566, "localstack": 5432, "postgres": 8080}

    assert stack._translated("http://webserver:8080 localstack:4566 postgres:5432", chosen) == (
        "http://127.0.0.1:4566 127.0.0.1:5432 127.0.0.1:8080"
    )


def test_another_image_is_refused(root: Path) -> None:
    overlay = root / "overlay.yml"
    overlay.write_text("services: {redis: {image: 'redis:8', environment: {}}}")

    with pytest.raises(StackError, match="the service redis runs the image redis:8") as caught:
        made(root, overlay).up()

    assert "--engine compose" in caught.value.next_step


def test_a_volume_in_the_short_form_is_refused(root: Path) -> None:
    overlay = root / "overlay.yml"
    overlay.write_text("services: {scheduler: {volumes: ['./a:/b']}}")

    with pytest.raises(StackError, match=r"volume '\./a:/b': the local engine reads the long form"):
        made(root, overlay).up()


def test_a_path_that_is_too_long_for_a_socket_is_named(tmp_path: Path) -> None:
    root = tmp_path / ("long" * 20)
    root.mkdir()
    (root / "docker-compose.yml").write_text(COMPOSE_FILE)

    with pytest.raises(StackError, match="is too long for a Unix socket"):
        ProcessStack(Settings.of("tunnel", root=root)).up()
    assert not ProcessStack(Settings.of("tunnel", root=root)).run_folder.exists()


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

    chosen = ProcessStack(Settings.of("tunnel", root=root))._chosen_ports(lines.append)

    assert chosen["webserver"] == 8080
    assert chosen["localstack"] not in (0, 4566)
    assert chosen["postgres"] != 0
    assert lines == ["port 4566 is in use by nginx (process 1): localstack takes another"]


def test_a_port_that_is_set_is_taken_or_refused(root: Path, taken: set[int]) -> None:
    stack = made(root, WEBSERVER_PORT="8081", LOCALSTACK_PORT="0")
    chosen = stack._chosen_ports(lambda _: None)
    assert chosen["webserver"] == 8081
    assert chosen["localstack"] not in (0, 4566)

    taken.add(8081)
    with pytest.raises(StackError, match="port 8081 is in use by nginx") as caught:
        stack._chosen_ports(lambda _: None)
    assert "Set WEBSERVER_PORT" in caught.value.next_step


def test_a_stack_that_does_not_run_has_no_ports(stack: ProcessStack) -> None:
    with pytest.raises(StackError, match="the stack tunnel does not run"):
        stack.port("webserver")


# The state of a service


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
    stack.run_folder.mkdir(parents=True)
    (stack.run_folder / "ports.json").write_text(json.dumps(CHOSEN))
    return stack


@pytest.mark.parametrize(
    ("state", "changed", "word"),
    [
        ("STARTING", {}, "healthy"),
        ("RUNNING", {}, "healthy"),
        ("STOPPING", {}, "healthy"),
        ("BACKOFF", {"exitstatus": 2}, "restarting"),
        ("FATAL", {"exitstatus": 2}, "dead"),
        ("EXITED", {"exitstatus": 2}, "exited with code 2"),
        ("STOPPED", {}, "exited with code 0"),
        ("STOPPED", {"start": 0}, "absent"),
    ],
)
def test_supervisords_states_in_dockers_words(
    written: ProcessStack, monkeypatch: pytest.MonkeyPatch, state: str, changed: dict[str, Any], word: str
) -> None:
    monkeypatch.setitem(probes.PROBES, "scheduler", lambda *_: None)

    service = written._service("scheduler", info(state, **changed))

    assert service.summary == word
    assert service.exit_code == (changed.get("exitstatus", 0))
    assert bool(service.failed) == (word not in ("healthy", "absent"))


def test_a_one_shot_is_ready_when_it_has_ended_well(written: ProcessStack) -> None:
    assert written._service("init", info("EXITED")).ready
    assert written._service("init", info("EXITED", exitstatus=1)).failed
    assert written._service("init", info("RUNNING")).summary == "running"
    assert written._service("init", None) == Service("init", one_shot=True)


@pytest.mark.parametrize(
    ("said", "age", "word", "definite"),
    [
        (probes.Unhealthy("no heartbeat"), 1, "starting", False),
        (probes.Unhealthy("no heartbeat"), local_stack.START_PERIOD + 2, "unhealthy", False),
        (probes.Broken("import error"), 1, "unhealthy", True),
    ],
)
def test_a_service_may_be_unhealthy_for_a_while(
    written: ProcessStack,
    sick: dict[str, probes.Unhealthy],
    said: probes.Unhealthy,
    age: float,
    word: str,
    definite: bool,
) -> None:
    sick["scheduler"] = said

    service = written._service("scheduler", info("RUNNING", start=time.time() - age))

    assert (service.health, service.health_output, service.definite) == (word, str(said), definite)


def test_a_probe_that_breaks_is_one_that_fails(
    written: ProcessStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(*_: object) -> None:
        raise ValueError("no JSON")

    monkeypatch.setitem(probes.PROBES, "scheduler", probe)

    service = written._service("scheduler", info("RUNNING"))

    assert (service.health, service.health_output, service.definite) == ("starting", "no JSON", False)


@pytest.mark.parametrize(
    ("log", "code"),
    [
        ("exited: scheduler (exit status 3; not expected)", 3),
        ("exited: scheduler (terminated by SIGKILL; not expected)", 137),
        ("exited: scheduler (terminated by SIGSEGV (core dumped); not expected)", 139),
        ("exited: scheduler-2 (exit status 3; not expected)", 0),
        ("", 0),
    ],
)
@pytest.mark.parametrize("state", ["BACKOFF", "FATAL"])
def test_how_a_service_has_ended_is_in_supervisords_log(
    written: ProcessStack, state: str, log: str, code: int
) -> None:
    older = "2026-01-01 12:00:00,000 WARN exited: scheduler (exit status 1; not expected)\n"
    text = f"{older if code else ''}2026-01-01 12:00:01,000 WARN {log}\n"
    (written.run_folder / "supervisord.log").write_text(text)

    service = written._service("scheduler", info(state))

    assert service.exit_code == code
    assert service.restarts == (2 if code else 0)


# The order of a start


@pytest.fixture
def started(stack: ProcessStack, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What supervisord is told to start."""
    calls: list[str] = []

    def call(method: str, name: str, *_: object) -> None:
        assert method == "startProcess"
        calls.append(name)

    monkeypatch.setattr(stack, "_call", call)
    return calls


def seen(stack: ProcessStack, *services: Service) -> list[Service]:
    """These, and no sign of the others."""
    found = {service.name: service for service in services}
    return [found.get(name, Service(name)) for name in stack.service_names]


INIT = Service("init", state="exited", one_shot=True)
POSTGRES, LOCALSTACK, SCHEDULER = (
    Service(name, state="running", health="healthy") for name in ("postgres", "localstack", "scheduler")
)


def test_each_service_waits_for_what_it_depends_on(stack: ProcessStack, started: list[str]) -> None:
    waiting = set(stack.service_names)

    # What waits for nothing, and what need not be ready.
    assert stack._advance(seen(stack), waiting) == Progress()
    assert started == ["init", "localstack", "postgres"]

    # Not while init is at work, nor while LocalStack is not healthy.
    at_work = replace(INIT, state="running")
    starting = replace(LOCALSTACK, health="starting")
    assert not stack._advance(seen(stack, at_work, POSTGRES, LOCALSTACK), waiting).done
    assert not stack._advance(seen(stack, INIT, POSTGRES, starting), waiting).done
    assert len(started) == 3

    assert stack._advance(seen(stack, INIT, POSTGRES, LOCALSTACK), waiting).done
    assert started[3:] == ["scheduler"]


def test_what_waits_for_a_failed_one_is_not_started(stack: ProcessStack, started: list[str]) -> None:
    failed = replace(INIT, exit_code=1)

    assert not stack._advance(seen(stack, failed, POSTGRES, LOCALSTACK), {"scheduler"}).done
    assert started == []


def test_what_an_earlier_start_has_made_ready_is_awaited_anew(
    stack: ProcessStack, started: list[str]
) -> None:
    services = seen(stack, INIT, POSTGRES, LOCALSTACK, SCHEDULER)
    waiting = set(stack.service_names)

    # That init has ended before says nothing of the one that is begun now.
    assert not stack._advance(services, waiting).done
    assert started == ["init", "localstack", "postgres"]

    assert stack._advance(services, waiting).done
    assert started[3:] == ["scheduler"]


# Logs


@pytest.fixture
def logs(written: ProcessStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The logs of a stack that ends soon, so that no one follows them forever."""
    monkeypatch.setattr(local_stack, "FOLLOW", 0.01)
    folder = written.run_folder / "logs"
    folder.mkdir()
    (folder / "init.log").write_text("begins\nends\n")
    (folder / "scheduler.log").write_text("three\nfour\n")
    (folder / "scheduler.log.1").write_text("one\ntwo\n")
    end = Timer(5, shutil.rmtree, [written.run_folder])
    end.start()
    yield folder
    end.cancel()


@pytest.mark.usefixtures("logs")
def test_logs_of_one_service_and_of_all(stack: ProcessStack) -> None:
    assert stack.logs("scheduler") == "one\ntwo\nthree\nfour\n"
    assert stack.logs("scheduler", tail=3) == "two\nthree\nfour\n"
    assert stack.logs("scheduler", tail=0) == ""
    assert stack.logs("postgres") == ""
    assert [line.split() for line in stack.logs(tail=1).splitlines()] == [
        ["init", "|", "ends"],
        ["scheduler", "|", "four"],
    ]


def test_bytes_that_are_no_text_do_not_hide_a_log(stack: ProcessStack, logs: Path) -> None:
    (logs / "postgres.log").write_bytes(b"\xff bad\n")

    assert stack.logs("postgres").endswith(" bad\n")


def test_a_followed_log_goes_on_also_when_it_is_moved_aside(stack: ProcessStack, logs: Path) -> None:
    log = logs / "scheduler.log"
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        with log.open("a") as file:
            if line == "four":
                file.write("five\nhalf a ")
            if line == "five":
                file.write("line\n")
        if line == "half a line":
            log.rename(logs / "scheduler.log.1")
            log.write_text("six\n")
        if line == "six":
            shutil.rmtree(stack.run_folder)

    stack.show_logs("scheduler", follow=True, tail=1, on_line=on_line)

    assert lines == ["four", "five", "half a line", "six"]


def test_of_several_followed_logs_each_line_names_its_service(stack: ProcessStack, logs: Path) -> None:
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if line.endswith("four"):
            # Not there at first.
            (logs / "postgres.log").write_text("ready\n")
        if line.endswith("ready"):
            shutil.rmtree(stack.run_folder)

    stack.show_logs(None, follow=True, tail=1, on_line=on_line)

    assert [line.split() for line in lines] == [
        ["init", "|", "ends"],
        ["scheduler", "|", "four"],
        ["postgres", "|", "ready"],
    ]


# A real supervisord


@pytest.fixture
def running(stack: ProcessStack, sick: dict[str, probes.Unhealthy]) -> ProcessStack:
    stack.up()
    return stack


def service(stack: ProcessStack, name: str) -> Service:
    return next(service for service in stack.services() if service.name == name)


def process(stack: ProcessStack, name: str) -> psutil.Process:
    return psutil.Process(int(service(stack, name).id))


def supervisord(stack: ProcessStack) -> psutil.Process:
    return psutil.Process(int((stack.run_folder / "supervisord.pid").read_text()))


@pytest.mark.usefixtures("sick")
def test_up_starts_everything_and_down_leaves_nothing_but_the_data(stack: ProcessStack, root: Path) -> None:
    lines: list[str] = []

    stack.up(lines.append)

    assert all(service.ready for service in stack.services())
    assert [line.split()[0] for line in lines][-1] == "scheduler"
    assert stack.logs("scheduler") == "scheduler --one two words begins\n"
    for container_path, source in {
        "/opt/airflow/dags": root / "dags",
        "/run/secrets/windtunnel": stack.folder / "volumes" / "secrets",
    }.items():
        assert (stack.run_folder / "root" / container_path[1:]).samefile(source)
    # The secrets are for their owner alone.
    assert stat.S_IMODE((stack.folder / "volumes" / "secrets").stat().st_mode) == 0o700

    stack.down()

    assert list(processes.processes(root)) == []
    assert sorted(path.name for path in stack.folder.iterdir()) == ["lock", "volumes"]
    assert {service.state for service in stack.services()} == {"absent"}

    stack.down(volumes=True)
    assert not stack.folder.exists()


def test_up_with_other_settings_starts_what_they_concern_anew(running: ProcessStack, root: Path) -> None:
    before = {service.name: service.id for service in running.services()}

    made(root, LEVEL="debug").up()

    after = {service.name: service for service in running.services()}
    assert all(service.ready for service in after.values())
    assert {name for name, service in after.items() if service.id != before[name]} == {"scheduler"}
    wait_until(
        "its new environment",
        lambda: process(running, "scheduler").environ().get("LEVEL") == "debug",
        timeout=10,
        retry_on=(psutil.Error,),
    )


def test_what_airflows_services_are_forked_from_has_their_environment(running: ProcessStack) -> None:
    """Otherwise none could be forked from it."""
    definitions = json.loads((running.run_folder / processes.SERVICES).read_text())
    forked, own = definitions["scheduler"], definitions[local_stack.PRELOAD]

    assert own["command"][1:] == ["preload"]
    assert fork_server.shared(own["environment"]) == fork_server.shared(forked["environment"])
    assert own["folder"] == own["environment"]["TMPDIR"] != forked["folder"]
    assert SOCKET_SETTING not in definitions["postgres"]["environment"]


@pytest.mark.usefixtures("sick")
def test_services_start_where_what_they_are_forked_from_does_not(root: Path) -> None:
    entrypoint(root, preload="exit 1")
    stack = made(root)

    stack.up(timeout=10)

    assert {service.name for service in stack.services() if not service.ready} == set()
    stack.down()


def test_down_stops_what_depends_on_others_before_them(
    running: ProcessStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []
    remove = running._remove_remains

    def read_log_first() -> None:
        log = (running.run_folder / "supervisord.log").read_text()
        stopped.extend(re.findall(r" stopped: (\S+)", log))
        remove()

    monkeypatch.setattr(running, "_remove_remains", read_log_first)

    running.down()

    assert stopped[0] == "scheduler"
    assert sorted(stopped[1:3]) == ["localstack", "postgres"]


def test_where_nobody_reaps_processes_down_ends_all_the_same(root: Path) -> None:
    """As in a container whose first process is not made for that: what has ended stays a zombie."""
    program = (
        "import ctypes, os, sys; from pathlib import Path\n"
        "from windtunnel.services import probes; from windtunnel.local.stack import ProcessStack\n"
        "from windtunnel.stack.settings import Settings\n"
        # PR_SET_CHILD_SUBREAPER: orphans come to this process.
        "ctypes.CDLL(None).prctl(36, 1)\n"
        "if (child := os.fork()) == 0:\n"
        "    probes.PROBES.clear()\n"
        "    local = ProcessStack(Settings.of('tunnel', root=Path(sys.argv[1])))\n"
        "    local.up()\n"
        "    local.down()\n"
        "    os._exit(0)\n"
        "print(os.waitpid(child, 0)[1])"
    )
    environment = {"PYTHONPATH": str(ROOT / "src"), "WEBSERVER_PORT": "0", "LOCALSTACK_PORT": "0"}
    start = time.monotonic()

    said = subprocess.check_output([sys.executable, "-c", program, root], env=environment, text=True)

    assert said == "0\n"
    assert time.monotonic() - start < local_stack.STOP_GRACE_PERIOD


def test_what_was_started_outlives_the_terminal(running: ProcessStack) -> None:
    # A process of another session gets no signal of this terminal, and one whose parent is gone is nobody's.
    assert os.getsid(supervisord(running).pid) != os.getsid(0)
    assert supervisord(running).ppid() != os.getpid()


def test_a_service_gets_its_definition_and_nothing_else(
    root: Path, sick: dict[str, probes.Unhealthy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_SHELL", "1")
    stack = made(root)
    stack.up()

    given = process(stack, "scheduler").environ()

    # What a shell sets by itself.
    assert {name: value for name, value in given.items() if name not in ("PWD", "SHLVL", "_")} == dict(
        stack.variables("scheduler")
    )
    assert stack.exec("scheduler", "sh", "-c", 'echo "$POSTGRES_ADDRESS"') == (
        f"{stack.address('postgres')}\n"
    )


def test_what_does_not_run_runs_no_command(running: ProcessStack) -> None:
    with pytest.raises(StackError, match="init does not run"):
        running.exec("init", "true")
    running.down()
    with pytest.raises(StackError, match="scheduler does not run"):
        running.exec("scheduler", "true")


def test_a_killed_service_is_started_again_and_that_is_counted(running: ProcessStack) -> None:
    killed = process(running, "scheduler")
    assert service(running, "scheduler").restarts == 0

    killed.kill()

    wait_until(
        "the scheduler to run again",
        lambda: (
            service(running, "scheduler").state == "running"
            and process(running, "scheduler").pid != killed.pid
        ),
        timeout=20,
        retry_on=(psutil.Error,),
    )
    assert service(running, "scheduler").restarts == 1
    assert service(running, "postgres").restarts == 0


def test_with_a_service_goes_what_it_has_started(root: Path, sick: dict[str, probes.Unhealthy]) -> None:
    # In a session of its own, so that no signal to the group reaches it.
    entrypoint(root, scheduler="setsid sleep 601 &")
    stack = made(root)
    stack.up()

    def children() -> list[psutil.Process]:
        of_scheduler = processes.processes(stack.run_folder, "scheduler")
        return [process for process in of_scheduler if process.cmdline() == ["sleep", "601"]]

    (child,) = wait_until("its child", children, timeout=10, retry_on=(psutil.Error,))

    process(stack, "scheduler").kill()

    wait_until(
        "another child",
        lambda: [other for other in children() if other != child],
        timeout=20,
        retry_on=(psutil.Error,),
    )
    assert child not in processes.processes(root)


def test_after_the_end_of_supervisord_its_stack_is_known_and_can_be_taken_down(
    running: ProcessStack, root: Path
) -> None:
    supervisord(running).kill()

    wait_until("that to be noticed", lambda: not running.is_supervised(), timeout=5)
    states = {service.name: service.state for service in made(root).services()}
    assert states == {
        "init": "absent",
        "localstack": "unsupervised",
        "postgres": "unsupervised",
        "scheduler": "unsupervised",
    }

    running.down()

    assert list(processes.processes(root)) == []
    assert not running.run_folder.exists()


def test_a_postgres_of_another_user_is_ended_by_its_file(tmp_path: Path) -> None:
    postgres = tmp_path / "postgres"
    shutil.copy("/usr/bin/sleep", postgres)
    pid_file = tmp_path / "postmaster.pid"
    # A shell's background job, which this may be in, ignores SIGINT, and so would these; Postgres never does.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    processes = [
        subprocess.Popen([program, "600"], preexec_fn=heed) for program in (postgres, postgres, "sleep")
    ]
    ours, later, other = processes
    try:
        for process, started in ((other, time.time()), (later, time.time() - 60), (ours, time.time())):
            pid_file.write_text(f"{process.pid}\n/data\n{started:.0f}\n5432\n")
            local_stack._end_postgres(pid_file)

        assert ours.wait(5) == -signal.SIGINT, "what is committed would be lost"
        assert (later.poll(), other.poll()) == (None, None), "the number was another's by then"

        # Long gone, or none.
        local_stack._end_postgres(pid_file)
        pid_file.unlink()
        local_stack._end_postgres(pid_file)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_stack_is_there_while_something_of_it_runs(
    stack: ProcessStack, sick: dict[str, probes.Unhealthy]
) -> None:
    assert not stack.is_there()
    stack.up()
    assert stack.is_there()

    supervisord(stack).kill()
    wait_until("that to be noticed", lambda: not stack.is_supervised(), timeout=5)
    assert stack.is_there()

    # As after a restart of the machine.
    processes.end(stack.run_folder)
    assert stack.run_folder.exists()
    assert not stack.is_there()


def test_after_the_end_of_supervisord_up_starts_anew(running: ProcessStack) -> None:
    old = process(running, "postgres")
    supervisord(running).kill()
    wait_until("that to be noticed", lambda: not running.is_supervised(), timeout=5)

    running.up()

    assert all(service.ready for service in running.services())
    assert old not in processes.processes(running.run_folder)


def test_up_on_a_running_stack_leaves_it_as_it_is(running: ProcessStack) -> None:
    before = [service.id for service in running.services()]
    ports = running.port("webserver")

    running.up()

    assert [service.id for service in running.services()] == before
    assert running.port("webserver") == ports
    # But for what is to run each time.
    assert running.logs("init") == "init begins\ninit begins\n"


def test_a_service_that_fails_is_named_with_its_log(root: Path, sick: dict[str, probes.Unhealthy]) -> None:
    entrypoint(root, init="echo no space left >&2; exit 2")

    with pytest.raises(ServiceFailed) as caught:
        made(root).up()

    assert caught.value.what == "init ended with exit code 2"
    assert caught.value.output == "init begins\nno space left"
    # What needs no init runs.
    assert service(made(root), "localstack").state == "running"
    assert service(made(root), "scheduler").state == "absent"


def test_a_service_that_ends_at_once_is_tried_again_and_named(
    root: Path, sick: dict[str, probes.Unhealthy]
) -> None:
    entrypoint(root, scheduler="exit 3")

    with pytest.raises(ServiceFailed, match="scheduler ended with exit code 3"):
        made(root).up()

    wait_until("another try", lambda: service(made(root), "scheduler").restarts > 1, timeout=20)


def test_the_scheduler_waits_for_a_healthy_localstack(root: Path, sick: dict[str, probes.Unhealthy]) -> None:
    sick["localstack"] = probes.Broken("no such bucket")
    stack = made(root)

    with pytest.raises(ServiceFailed, match="localstack is not healthy: no such bucket"):
        stack.up()

    assert service(stack, "scheduler").state == "absent"
    wait_until("what needs no LocalStack", lambda: service(stack, "postgres").ready, timeout=10)

    del sick["localstack"]
    stack.up()
    assert service(stack, "scheduler").ready


def test_while_a_start_is_watched_what_is_healthy_is_asked_no_more(
    stack: ProcessStack, sick: dict[str, probes.Unhealthy], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def probe(environment: Mapping[str, str], _: float) -> None:
        asked.append(Path(environment["TMPDIR"]).name)
        if asked[-1] == "localstack" and asked.count("localstack") < 5:
            raise probes.Unhealthy("not yet")

    for name in ("postgres", "localstack"):
        monkeypatch.setitem(probes.PROBES, name, probe)

    stack.up()

    assert asked.count("postgres") == 1
    assert asked.count("localstack") == 5


def test_logs_are_written_with_supervisords_own(running: ProcessStack, tmp_path: Path) -> None:
    running.write_logs(tmp_path / "evidence")

    assert (tmp_path / "evidence" / "init.log").read_text() == "init begins\n"
    assert "spawned: 'init'" in (tmp_path / "evidence" / "supervisord.log").read_text()


def test_a_supervisord_that_cannot_start_says_why(
    stack: ProcessStack, sick: dict[str, probes.Unhealthy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(local_stack.STOP_SIGNALS, "postgres", "NOSUCH")

    with pytest.raises(StackError, match=r"starting supervisord failed.*\n.*NOSUCH"):
        stack.up()


def test_each_program_is_restarted_but_the_one_shot(stack: ProcessStack) -> None:
    definition: dict[str, Any] = {}
    init, postgres, scheduler = (
        stack._program(name, definition) for name in ("init", "postgres", "scheduler")
    )

    assert (init["autorestart"], scheduler["autorestart"]) == ("false", "true")
    assert (postgres["stopsignal"], scheduler["stopsignal"]) == ("INT", "TERM")
    assert (postgres["stopwaitsecs"], scheduler["stopwaitsecs"]) == (10, 90)


def test_a_changed_definition_is_another_program(stack: ProcessStack) -> None:
    one, same, other = (
        stack._program("scheduler", definition)["command"] for definition in ({"a": 1}, {"a": 1}, {"a": 2})
    )

    assert one == same
    assert one != other


def test_what_is_left_of_a_killed_postgres_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ipcrm = tmp_path / "bin" / "ipcrm"
    ipcrm.parent.mkdir()
    ipcrm.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/called\n')
    ipcrm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ipcrm.parent}:{os.environ['PATH']}")
    pid_file = tmp_path / "postmaster.pid"

    local_stack._remove_segment(pid_file)
    pid_file.write_text("1234\n/data\n1700000000\n5432\n\n127.0.0.1\n  5432001  98765\nready\n")
    local_stack._remove_segment(pid_file)

    assert (tmp_path / "called").read_text() == "-m 98765\n"


# What it is made of


def test_it_is_made_of_venvs(stack: ProcessStack, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(stack.venvs, "install", lambda say: say("installing"))

    stack.get_parts(said.append, said.append)

    assert said == ["installing"]


def test_it_is_as_good_as_its_venvs(stack: ProcessStack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not stack.has_parts()

    monkeypatch.setattr(stack.venvs, "missing", list)
    assert stack.has_parts()
