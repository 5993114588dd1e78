from pathlib import Path

import pytest

from windtunnel.local import ports as own_ports
from windtunnel.stack import ports
from windtunnel.stack.errors import StackError
from windtunnel.stack.settings import Settings

from .conftest import made


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

    chosen = own_ports.chosen(Settings.of("tunnel", root=root), lines.append)

    assert chosen["webserver"] == 8080
    assert chosen["localstack"] not in (0, 4566)
    assert chosen["postgres"] != 0
    assert lines == ["port 4566 is in use by nginx (process 1): localstack takes another"]


def test_a_port_that_is_set_is_taken_or_refused(root: Path, taken: set[int]) -> None:
    stack = made(root, WEBSERVER_PORT="8081", LOCALSTACK_PORT="0")
    chosen = own_ports.chosen(stack.settings, lambda _: None)
    assert chosen["webserver"] == 8081
    assert chosen["localstack"] not in (0, 4566)

    taken.add(8081)
    with pytest.raises(StackError, match="port 8081 is in use by nginx") as caught:
        own_ports.chosen(stack.settings, lambda _: None)
    assert "Set WEBSERVER_PORT" in caught.value.next_step
