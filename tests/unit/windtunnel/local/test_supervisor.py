from pathlib import Path
from typing import Any

import pytest

from windtunnel.local.definitions import FORK_SERVER
from windtunnel.local.fork_server import WARNING
from windtunnel.local.stack import ProcessStack
from windtunnel.local.supervisor import STOP_SIGNALS
from windtunnel.services import probes
from windtunnel.stack.errors import StackError
from windtunnel.stack.service import Service
from windtunnel.stack.settings import Settings
from windtunnel.waiting import wait_until

from .conftest import COMPOSE_FILE, entrypoint, info, made


def test_a_path_that_is_too_long_for_a_socket_is_named(tmp_path: Path) -> None:
    root = tmp_path / ("long" * 20)
    root.mkdir()
    (root / "docker-compose.yml").write_text(COMPOSE_FILE)

    with pytest.raises(StackError, match="is too long for a Unix socket"):
        ProcessStack(Settings.of("tunnel", root=root)).up()
    assert not ProcessStack(Settings.of("tunnel", root=root)).layout.run.exists()


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
    (written.layout.run / "supervisord.log").write_text(text)

    service = look(written, "scheduler", info(state))

    assert service.exit_code == code
    assert service.restarts == (2 if code else 0)


def look(stack: ProcessStack, name: str, said: Any) -> Service:
    """What supervisord says of a service, as the stack sees it."""
    return stack._seen(stack._unseen(name, name), said)


def test_each_program_is_restarted_but_the_one_shot(stack: ProcessStack) -> None:
    services = stack.configuration["services"]
    init, postgres, scheduler = (
        stack.supervisor._program(name, services[name], "0") for name in ("init", "postgres", "scheduler")
    )

    assert (init["autorestart"], scheduler["autorestart"]) == ("false", "true")
    assert (postgres["stopsignal"], scheduler["stopsignal"]) == ("INT", "TERM")
    assert (postgres["stopwaitsecs"], scheduler["stopwaitsecs"]) == (10, 90)


def test_a_changed_definition_is_another_program(stack: ProcessStack) -> None:
    stack.layout.run.mkdir(parents=True)
    file = stack.layout.run / "supervisord.conf"
    written = []
    for definition, fingerprint in (({"a": 1}, "1"), ({"a": 1}, "1"), ({"a": 2}, "1"), ({"a": 1}, "2")):
        stack.supervisor.configure({"scheduler": definition}, {"scheduler": {}}, [fingerprint])
        written.append(file.read_text())

    one, same, *others = written
    assert one == same
    assert one not in others


def test_a_supervisord_that_cannot_start_says_why(
    stack: ProcessStack, sick: dict[str, probes.Unhealthy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STOP_SIGNALS, "postgres", "NOSUCH")

    with pytest.raises(StackError, match=r"starting supervisord failed.*\n.*NOSUCH"):
        stack.up()


# The fork server


@pytest.mark.usefixtures("sick")
def test_services_start_without_a_fork_server_and_that_is_said(root: Path) -> None:
    entrypoint(root, **{"fork-server": "exit 1"})
    stack = made(root)
    assert stack.warnings() == []

    stack.up(timeout=10)

    assert {service.name for service in stack.services() if not service.ready} == set()
    (warning,) = stack.warnings()
    assert "services import Airflow one by one" in warning.problem
    assert warning.remedy == "Its log: ./windtunnel logs fork-server"
    stack.down()


@pytest.mark.usefixtures("sick")
def test_what_the_fork_server_warns_of_is_said(root: Path) -> None:
    warns = f'echo "{WARNING}old versions"; touch "$FORK_SERVER_SOCKET"; sleep 600 & wait'
    entrypoint(root, **{"fork-server": warns})
    stack = made(root)

    stack.up(timeout=10)
    wait_until("its log", lambda: stack.warnings() != [], timeout=10)

    assert [warning.problem for warning in stack.warnings()] == ["old versions"]
    lines: list[str] = []
    stack.show_logs("fork-server", follow=False, tail=None, on_line=lines.append)
    assert lines == ["fork-server begins", f"{WARNING}old versions"]
    stack.down()
    assert stack.warnings() == []


class Calls:
    """supervisord's interface, of which a reload says that these processes have changed."""

    def __init__(self, changed: list[str]) -> None:
        self._changed = changed
        self.made: list[tuple[str, str]] = []

    def reloadConfig(self) -> list[list[list[str]]]:
        return [[["added"], self._changed, ["removed"]]]

    def __getattr__(self, method: str) -> Any:
        return lambda label, *_: self.made.append((method, label))

    def getAllProcessInfo(self) -> list[dict[str, Any]]:
        return []


def test_what_has_changed_is_stopped_before_the_fork_server(
    stack: ProcessStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork ends with it: the scheduler's tasks would be killed."""
    calls = Calls(["dag-processor", FORK_SERVER, "scheduler"])
    monkeypatch.setattr(type(stack.supervisor), "calls", calls)

    stack.supervisor.update()

    stopped = [label for method, label in calls.made if method == "stopProcess"]
    # What goes is told first, as it may take time, and is awaited with the others.
    assert stopped == ["removed", "dag-processor", "scheduler", "removed", FORK_SERVER]
    assert [label for method, label in calls.made if method == "addProcessGroup"] == [
        "dag-processor",
        FORK_SERVER,
        "scheduler",
        "added",
    ]
