"""A proxy before Docker's socket, for DockerOperator: one call a connection, and only what `rules` allow."""

import json
import logging
import selectors
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from docker import APIClient
from docker.errors import NotFound

from windtunnel.docker_agent.place import SOCKET, Place
from windtunnel.docker_agent.rules import Call, NotThere, Refused, Rules

LOG = logging.getLogger(__name__)

PORT = 2375

# Of a request, in bytes; a container's environment and command are less.
MOST_BODY = 1 << 20
CHUNK = 1 << 16

# How long a caller may take to say what it wants, in seconds.
REQUEST_TIMEOUT = 30.0

# What of a request's head is handed on: a registry's login.
HEADERS = ("X-Registry-Auth",)


class Unreachable(Refused):
    """Docker does not answer."""

    status = 502


def serve(
    api: APIClient, place: Place, address: tuple[str, int] = ("", PORT), path: Path = SOCKET
) -> ThreadingHTTPServer:
    """Answer from now on, in threads.

    :param path: Docker's socket.
    """

    def inspect(name: str) -> Mapping[str, Any]:
        try:
            return dict(api.inspect_container(name))
        except NotFound:
            raise NotThere(f"No such container: {name}") from None
        except OSError as error:
            raise Unreachable(f"Docker does not answer: {error}") from error

    rules = Rules(place, inspect)

    class Handler(_Handler):
        def handle_call(self, body: bytes) -> None:
            call = rules.call(self.command, self.path, body)
            headers = {name: self.headers[name] for name in HEADERS if name in self.headers}
            with socket.socket(socket.AF_UNIX) as docker:
                try:
                    docker.connect(str(path))
                    docker.sendall(request(call, headers) + call.body)
                except OSError as error:
                    raise Unreachable(f"Docker does not answer: {error}") from error
                with suppress(OSError):  # either of them is gone
                    relay(docker, self.connection)

    server = ThreadingHTTPServer(address, Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="proxy", daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    """Reads one request and answers it; the connection ends with that."""

    timeout = REQUEST_TIMEOUT
    # What a call with "Upgrade" is answered by is no longer HTTP, and others close the connection.
    protocol_version = "HTTP/1.0"

    def handle_call(self, body: bytes) -> None:
        """Answer a request, or raise `Refused`."""
        raise NotImplementedError

    def _handle(self) -> None:
        try:
            self.handle_call(self._body())
        except Refused as refused:
            LOG.warning("refused: %s", refused)
            self._answer(refused.status, str(refused))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        # One way to say how long it is, so that nobody can read it as two requests.
        if "Transfer-Encoding" in self.headers or not length.isascii() or not length.isdigit():
            raise Refused("the length of the body is not told by Content-Length")
        if int(length) > MOST_BODY:
            raise Refused(f"the body has more than {MOST_BODY} bytes")
        return self.rfile.read(int(length))

    def _answer(self, status: int, message: str) -> None:
        content = json.dumps({"message": message}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing of what is let through."""


def request(call: Call, headers: Mapping[str, str]) -> bytes:
    """Return the head of a request to Docker."""
    connection = {"Connection": "Upgrade", "Upgrade": "tcp"} if call.is_upgrade else {"Connection": "close"}
    own = {"Host": "docker", "Content-Type": "application/json", "Content-Length": str(len(call.body))}
    lines = [f"{name}: {value}" for name, value in {**headers, **own, **connection}.items()]
    return "\r\n".join([f"{call.method} {call.path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def relay(docker: socket.socket, caller: socket.socket) -> None:
    """Hand over Docker's answer as it comes, until it ends or the caller goes.

    What else the caller sends goes nowhere: containers have no input.
    """
    caller.settimeout(None)
    with selectors.DefaultSelector() as selector:
        for one in (docker, caller):
            selector.register(one, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                data = key.fileobj.recv(CHUNK)  # type: ignore[union-attr]
                if key.fileobj is caller and data:
                    continue
                if not data:
                    return
                caller.sendall(data)
