import os
import socket
from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pytest

from windtunnel.stack import ports


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_something_listens_on_is_taken(busy_port: int) -> None:
    assert ports.is_taken(busy_port)


def test_a_port_with_a_connection_that_lingers_is_not(busy_port: int) -> None:
    # The side that closes first keeps the connection for a minute.
    with socket.socket() as listener:
        # As every server does.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = listener.accept()
            accepted.close()
            assert client.recv(1) == b""

    assert not ports.is_taken(port)


def test_a_free_port_is_free() -> None:
    port = ports.free_port()

    assert port > 0
    assert not ports.is_taken(port)


def test_the_process_on_a_port_is_named(busy_port: int) -> None:
    assert ports.process_on(busy_port) == f"{psutil.Process().name()} (process {os.getpid()})"
    assert ports.process_on(ports.free_port()) == ""


def test_another_users_process_has_no_name(busy_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    listening = SimpleNamespace(status=psutil.CONN_LISTEN, laddr=SimpleNamespace(port=busy_port), pid=None)
    monkeypatch.setattr(psutil, "net_connections", lambda _: [listening])
    assert ports.process_on(busy_port) == ""

    def denied(_: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", denied)
    assert ports.process_on(busy_port) == ""
