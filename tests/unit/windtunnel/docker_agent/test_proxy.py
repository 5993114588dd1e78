"""The proxy, asked by Docker's own SDK and by callers that would deceive it."""

import socket
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker import APIClient
from docker.errors import APIError, NotFound

from windtunnel.docker_agent import proxy

from ..stand_ins.docker_engine import Engine
from .conftest import PLACE


@pytest.fixture
def address(api: APIClient, path: Path) -> Iterator[tuple[str, int]]:
    """Where a proxy listens."""
    server = proxy.serve(api, PLACE, ("127.0.0.1", 0), path)
    host, port = server.server_address[:2]
    yield str(host), int(port)
    server.shutdown()
    server.server_close()


@pytest.fixture
def caller(address: tuple[str, int]) -> Iterator[APIClient]:
    client = docker.APIClient(f"tcp://{address[0]}:{address[1]}", version="auto")
    yield client
    client.close()


def raw(address: tuple[str, int], request: bytes) -> bytes:
    """Return what is answered to some bytes."""
    with socket.create_connection(address, timeout=10) as caller:
        caller.sendall(request)
        return b"".join(iter(lambda: caller.recv(65536), b""))


def test_a_container_is_run_through_it(caller: APIClient, engine: Engine) -> None:
    engine.output["it"] = [b"hello\n"]
    made = caller.create_container("it", ["exit", "3"], name="it", host_config=caller.create_host_config())
    caller.start(made["Id"])

    assert caller.logs(made["Id"]) == b"hello\n"
    assert caller.wait(made["Id"])["StatusCode"] == 3
    assert engine.containers["it"]["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
    caller.remove_container(made["Id"])
    assert not engine.containers


def test_a_refusal_is_an_error_of_dockers_with_the_reason(caller: APIClient, engine: Engine) -> None:
    host = caller.create_host_config(binds=["/:/host"])
    with pytest.raises(APIError, match=r"HostConfig\.Binds is not for containers of DAGs") as raised:
        caller.create_container("it", host_config=host)

    assert raised.value.status_code == 403
    assert ("POST", "/containers/create") not in engine.calls


def test_a_container_of_somebody_else_is_not_there(caller: APIClient, engine: Engine) -> None:
    body = {"Image": "it", "Labels": {}, "HostConfig": {}}
    engine.answer("POST", "/containers/create", {"name": "other"}, body)

    with pytest.raises(NotFound):
        caller.remove_container("other")
    assert "other" in engine.containers


def test_one_request_is_one_whatever_comes_after_it(address: tuple[str, int], engine: Engine) -> None:
    smuggled = b"POST /containers/create HTTP/1.1\r\nHost: it\r\nContent-Length: 2\r\n\r\n{}"
    answer = raw(address, b"GET /version HTTP/1.1\r\nHost: it\r\nConnection: keep-alive\r\n\r\n" + smuggled)

    assert answer.count(b"HTTP/1") == 1
    assert all(call != ("POST", "/containers/create") for call in engine.calls)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("Transfer-Encoding: chunked", b"Content-Length"),
        ("Content-Length: -1", b"Content-Length"),
        (f"Content-Length: {proxy.MOST_BODY + 1}", b"has more than"),
    ],
)
def test_a_body_of_unknown_or_immense_length_is_refused(
    address: tuple[str, int], header: str, reason: bytes
) -> None:
    answer = raw(address, f"POST /containers/create HTTP/1.1\r\nHost: it\r\n{header}\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.0 403")
    assert reason in answer


def test_docker_that_is_away_is_said(address: tuple[str, int], engine: Engine, path: Path) -> None:
    engine.close()
    path.unlink()

    assert b"502" in raw(address, b"GET /version HTTP/1.1\r\nHost: it\r\n\r\n")
