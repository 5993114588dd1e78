"""The Runtime API on the wire, asked as the runtime client asks."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse

from windtunnel_emulator.lambda_.runtime_api import Invocation, Outcome, RuntimeApi

INVOCATION = Invocation("id-1", b'{"a": 1}', "arn:of:the:function", "Root=1-2-3")
NEXT = "/2018-06-01/runtime/invocation/next"
RESPONSE = "/2018-06-01/runtime/invocation/id-1/response"
ERROR = "/2018-06-01/runtime/invocation/id-1/error"
INIT_ERROR = "/2018-06-01/runtime/init/error"

Test = Callable[[RuntimeApi, str], Awaitable[None]]


def with_api(runner: asyncio.Runner, test: Test) -> None:
    async def run() -> None:
        api = RuntimeApi()
        try:
            await test(api, await api.start())
        finally:
            api.close()

    runner.run(run())


async def ask(
    address: str, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[HTTPResponse, bytes]:
    def request() -> tuple[HTTPResponse, bytes]:
        with closing(HTTPConnection(address, timeout=5)) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response, response.read()

    return await asyncio.to_thread(request)


def test_next_gives_the_event_and_its_headers(runner: asyncio.Runner) -> None:
    async def test(api: RuntimeApi, address: str) -> None:
        api.deliver(INVOCATION, deadline=1_700_000_000.5)
        response, body = await ask(address, "GET", NEXT)
        assert body == b'{"a": 1}'
        assert response.headers["Content-Type"] == "application/json"
        assert {name: value for name, value in response.headers.items() if name.startswith("Lambda-")} == {
            "Lambda-Runtime-Aws-Request-Id": "id-1",
            "Lambda-Runtime-Deadline-Ms": "1700000000500",
            "Lambda-Runtime-Invoked-Function-Arn": "arn:of:the:function",
            "Lambda-Runtime-Trace-Id": "Root=1-2-3",
        }

    with_api(runner, test)


def test_an_answer_is_one_write(runner: asyncio.Runner) -> None:
    """Head and body apart cost 40 ms an invocation."""

    async def test(api: RuntimeApi, address: str) -> None:
        api.deliver(INVOCATION, deadline=0)
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {NEXT} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert (await reader.read(65536)).endswith(b'\r\n\r\n{"a": 1}')
        writer.close()

    with_api(runner, test)


def test_next_ends_the_init_phase_and_waits_for_an_event(runner: asyncio.Runner) -> None:
    async def test(api: RuntimeApi, address: str) -> None:
        asking = asyncio.create_task(ask(address, "GET", NEXT))
        assert await api.initialised is None
        assert not asking.done()
        api.deliver(INVOCATION, deadline=0)
        _, body = await asking
        assert body == INVOCATION.payload

    with_api(runner, test)


def test_response_is_the_outcome(runner: asyncio.Runner) -> None:
    async def test(api: RuntimeApi, address: str) -> None:
        outcome = api.deliver(INVOCATION, deadline=0)
        response, _ = await ask(address, "POST", RESPONSE, b"[1]")
        assert response.status == 202
        assert await outcome == Outcome(b"[1]", is_error=False)

    with_api(runner, test)


def test_error_is_the_outcome(runner: asyncio.Runner) -> None:
    async def test(api: RuntimeApi, address: str) -> None:
        outcome = api.deliver(INVOCATION, deadline=0)
        response, _ = await ask(address, "POST", ERROR, b'{"errorType": "E"}')
        assert response.status == 202
        assert await outcome == Outcome(b'{"errorType": "E"}', is_error=True)

    with_api(runner, test)


def test_init_error_is_kept(runner: asyncio.Runner) -> None:
    async def test(api: RuntimeApi, address: str) -> None:
        response, _ = await ask(address, "POST", INIT_ERROR, b'{"errorType": "E"}')
        assert response.status == 202
        assert await api.initialised == b'{"errorType": "E"}'

    with_api(runner, test)


def test_the_cause_of_an_error_may_be_a_megabyte_in_a_header(runner: asyncio.Runner) -> None:
    async def test(api: RuntimeApi, address: str) -> None:
        outcome = api.deliver(INVOCATION, deadline=0)
        cause = {"Lambda-Runtime-Function-Xray-Error-Cause": "x" * 1024 * 1024}
        response, _ = await ask(address, "POST", ERROR, b"{}", **cause)
        assert response.status == 202
        assert (await outcome).is_error

    with_api(runner, test)


def test_result_of_another_invocation_is_refused(runner: asyncio.Runner) -> None:
    async def test(api: RuntimeApi, address: str) -> None:
        outcome = api.deliver(INVOCATION, deadline=0)
        response, body = await ask(address, "POST", RESPONSE.replace("id-1", "id-0"), b"1")
        assert (response.status, json.loads(body)["errorType"]) == (400, "InvalidRequestID")
        assert not outcome.done()

    with_api(runner, test)


def test_second_result_is_refused(runner: asyncio.Runner) -> None:
    async def test(api: RuntimeApi, address: str) -> None:
        outcome = api.deliver(INVOCATION, deadline=0)
        await ask(address, "POST", RESPONSE, b"1")
        response, _ = await ask(address, "POST", RESPONSE, b"2")
        assert response.status == 400
        assert (await outcome).payload == b"1"

    with_api(runner, test)


def test_response_one_byte_too_large_is_refused(runner: asyncio.Runner) -> None:
    async def test(api: RuntimeApi, address: str) -> None:
        outcome = api.deliver(INVOCATION, deadline=0)
        response, body = await ask(address, "POST", RESPONSE, b"x" * 6_291_557)
        assert (response.status, json.loads(body)["errorType"]) == (413, "RequestEntityTooLarge")
        assert json.loads((await outcome).payload)["errorType"] == "Function.ResponseSizeTooLarge"

    with_api(runner, test)


def test_unknown_path_is_refused(runner: asyncio.Runner) -> None:
    async def test(api: RuntimeApi, address: str) -> None:
        response, _ = await ask(address, "GET", "/2018-06-01/runtime/restore/next")
        assert response.status == 404

    with_api(runner, test)
