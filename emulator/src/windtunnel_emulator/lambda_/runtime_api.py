"""The Lambda Runtime API, version 2018-06-01, as one runtime process sees it."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import h11

from windtunnel_emulator.lambda_.limits import MAX_RESPONSE_BYTES

# The runtime client reports the cause of an error in a header of up to 1 MiB.
_MAX_HEAD_BYTES = 2 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024

_NEXT = "/2018-06-01/runtime/invocation/next"
_INIT_ERROR = "/2018-06-01/runtime/init/error"
_RESULT = re.compile(r"/2018-06-01/runtime/invocation/(?P<request_id>[^/]+)/(?P<kind>response|error)")


@dataclass(frozen=True)
class Invocation:
    """One event for the function."""

    request_id: str
    payload: bytes
    """JSON."""
    function_arn: str
    """The ARN the caller invoked, with its qualifier if one was given."""
    trace_id: str
    """X-Ray tracing header."""


@dataclass(frozen=True)
class Outcome:
    """What the runtime reported for an invocation."""

    payload: bytes
    """The handler's return value, or the error document, as JSON."""
    is_error: bool
    is_fatal: bool = False
    """The runtime client does not survive the answer it got."""


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    body: bytes | None
    """None if it was too large to keep."""


@dataclass(frozen=True)
class _Answer:
    status: HTTPStatus
    body: bytes
    headers: dict[str, str]


class RuntimeApi:
    """Serves the API on a loopback port. Use it from one event loop."""

    def __init__(self, on_idle: Callable[[], None] = lambda: None) -> None:
        """Create the API; `start` opens the port.

        :param on_idle: called when the runtime asks for an invocation and there is none
        """
        self.initialised: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        """Done when the Init phase is over: None, or the error document of a failed one."""
        self._on_idle = on_idle
        self._pending: asyncio.Queue[tuple[Invocation, float]] = asyncio.Queue()
        self._current: tuple[str, asyncio.Future[Outcome]] | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Open the port and return its address, `host:port`."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    def close(self) -> None:
        """Close the port and every connection."""
        if self._server:
            self._server.close()
        for connection in self._connections:
            connection.cancel()

    def deliver(self, invocation: Invocation, deadline: float) -> asyncio.Future[Outcome]:
        """Hand the runtime an invocation.

        :param deadline: when the function times out, in seconds since the epoch
        :return: done when the runtime has reported the outcome
        """
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._current = (invocation.request_id, outcome)
        self._pending.put_nowait((invocation, deadline))
        return outcome

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)
        try:
            while request := await _read_request(http, reader):
                writer.write(_render(http, await self._answer(request)))
                await writer.drain()
                http.start_next_cycle()
        except (h11.RemoteProtocolError, ConnectionError):
            pass  # the runtime ended in the middle, which its exit status tells better
        finally:
            writer.close()

    async def _answer(self, request: _Request) -> _Answer:
        if request.method == "GET" and request.path == _NEXT:
            return await self._next()
        if request.method == "POST" and request.path == _INIT_ERROR:
            return self._init_error(request.body or b"{}")
        if request.method == "POST" and (result := _RESULT.fullmatch(request.path)):
            return self._result(result["request_id"], result["kind"], request.body)
        return _refusal(HTTPStatus.NOT_FOUND, "ResourceNotFound", f"No {request.method} {request.path} here")

    async def _next(self) -> _Answer:
        if not self.initialised.done():
            self.initialised.set_result(None)
        if self._pending.empty():
            self._on_idle()
        invocation, deadline = await self._pending.get()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
            "Lambda-Runtime-Trace-Id": invocation.trace_id,
        }
        return _Answer(HTTPStatus.OK, invocation.payload, headers)

    def _init_error(self, document: bytes) -> _Answer:
        if not self.initialised.done():
            self.initialised.set_result(document)
        return _accepted()

    def _result(self, request_id: str, kind: str, body: bytes | None) -> _Answer:
        if self._current is None or self._current[0] != request_id or self._current[1].done():
            return _refusal(HTTPStatus.BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
        outcome = self._current[1]
        if body is None:
            document = {
                "errorMessage": "Response payload size exceeded maximum allowed payload size "
                f"({MAX_RESPONSE_BYTES} bytes).",
                "errorType": "Function.ResponseSizeTooLarge",
            }
            outcome.set_result(Outcome(json.dumps(document).encode(), is_error=True, is_fatal=True))
            return _refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "RequestEntityTooLarge",
                f"Exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes).",
            )
        outcome.set_result(Outcome(body, is_error=kind == "error"))
        return _accepted()


async def _read_request(http: h11.Connection, reader: asyncio.StreamReader) -> _Request | None:
    """Return the next request of a connection; None if the runtime has closed it."""
    request, body, length = None, bytearray(), 0
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(_CHUNK_BYTES))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            length += len(event.data)
            if length <= MAX_RESPONSE_BYTES:  # the rest is read too: the client listens once it has sent it
                body += event.data
        else:
            return None
    if request is None:
        raise RuntimeError("h11 ended a request that it had not begun.")
    kept = bytes(body) if length <= MAX_RESPONSE_BYTES else None
    return _Request(request.method.decode(), request.target.decode(), kept)


def _render(http: h11.Connection, answer: _Answer) -> bytes:
    headers = {
        "Content-Type": "application/json",  # the runtime client dies on an event without it
        "Content-Length": str(len(answer.body)),
        **answer.headers,
    }
    head = h11.Response(status_code=answer.status, reason=answer.status.phrase, headers=list(headers.items()))
    # One piece: a body sent after its head waits some 40 ms for the acknowledgement of the head.
    return b"".join(http.send(event) or b"" for event in (head, h11.Data(answer.body), h11.EndOfMessage()))


def _accepted() -> _Answer:
    return _Answer(HTTPStatus.ACCEPTED, b'{"status":"OK"}', {})


def _refusal(status: HTTPStatus, error_type: str, message: str) -> _Answer:
    return _Answer(status, json.dumps({"errorMessage": message, "errorType": error_type}).encode(), {})
