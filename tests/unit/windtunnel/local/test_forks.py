from pathlib import Path

import pytest

from windtunnel.local.fork_server import WARNING
from windtunnel.waiting import wait_until

from .conftest import entrypoint, made


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
