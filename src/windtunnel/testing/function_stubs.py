"""Lambda functions for one test: deployed from a folder, or replaced by a stub; then as they were."""

import json
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3

from windtunnel.seeding.deployment import WAITER, deploy, is_as_saved, package
from windtunnel.seeding.functions import LIBRARY, Function, load_function
from windtunnel.stack.base import Stack

# Pytest shows the test's line that failed, and not the way through here.
__tracebackhide__ = True

# What Lambda says of a function and takes as a change of it.
SETTINGS = {
    *("Handler", "Runtime", "Role", "Description", "Timeout", "MemorySize", "Environment", "Layers"),
    "EphemeralStorage",
}
# If a function has none of these, Lambda does not mention them.
EMPTY: dict[str, Any] = {"Description": "", "Environment": {"Variables": {}}, "Layers": []}

# The stub, in the module and under the name of the function's own handler. It writes the events that it gets
# to the function's own log, past the relay, which takes standard output.
STUB = """
import json
import sys

from airflow_relay import contract, relay

RETURNS = json.loads({returns!r})
RAISES = {raises!r}


@relay
def {handler}(event, context):
    own = event
    if isinstance(event, dict):
        own = {{key: value for key, value in event.items() if key not in contract.RESERVED_KEYS}}
    sys.__stdout__.write({mark!r} + json.dumps(own) + "\\n")
    sys.__stdout__.flush()
    print("a stub answers in this function's place")
    if RAISES:
        raise type(RAISES[0], (Exception,), {{}})(RAISES[1])
    return RETURNS
"""


class FunctionError(Exception):
    """A function cannot be deployed or replaced."""


class Functions:
    """The functions of one running stack."""

    def __init__(self, stack: Stack, client: Any) -> None:
        """Change nothing yet.

        :param client: boto3's for the stack's Lambda.
        """
        self._stack = stack
        self._client = client
        self._library = stack.root / "lambdas" / LIBRARY

    def outdated(self, functions: Iterable[Function]) -> list[str]:
        """Return the functions whose folders have other code, or settings saved since their deployment."""
        there = self._there()
        return [one.name for one in functions if not is_as_saved(one, there.get(one.name), self._library)]

    def _there(self) -> dict[str, dict[str, Any]]:
        pages = self._client.get_paginator("list_functions").paginate()
        return {found["FunctionName"]: found for page in pages for found in page["Functions"]}

    @contextmanager
    def deployed(self, folder: Path) -> Iterator[str]:
        """Deploy a folder's function during the block, in place of any other of its name; yield its name.

        :param folder: like those in ``lambdas/``, with ``lambda_function.py`` and maybe ``function.json``.
        :raises windtunnel.seeding.validation.SeedingError: saying what is wrong with the folder.
        """
        function = load_function(folder, self._runtime())
        with self._put_back(function.name):
            deploy(function, self._client, self._library)
            yield function.name

    def _runtime(self) -> str:
        """Return the runtime of this stack's functions, which is LocalStack's own Python."""
        version = "import sys; print('python{}.{}'.format(*sys.version_info))"
        return self._stack.exec("localstack", "python", "-c", version).strip()

    @contextmanager
    def stubbed(self, name: str, returns: Any, raises: Exception | None) -> Iterator[str]:
        """Replace a function's code during the block; yield what marks its calls in the log.

        Settings, handler and log group stay the function's own.

        :param returns: what it answers, as JSON.
        :param raises: what it fails with instead; only its class's name and its message go over.
        :raises FunctionError: if there is no such function.
        :raises TypeError: if ``returns`` is not JSON, or ``raises`` not an exception.
        """
        if raises is not None and not isinstance(raises, Exception):
            raise TypeError(f"raises is {raises!r}; it must be an exception: ValueError('no text')")
        mark = f"stub {secrets.token_hex(4)} got "
        error = (type(raises).__name__, str(raises)) if raises else None
        with self._put_back(name) as settings:
            if settings is None:
                raise FunctionError(f"there is no function {name}; there are {', '.join(self._there())}")
            module, _, handler = settings["Handler"].rpartition(".")
            source = STUB.format(returns=json.dumps(returns), raises=error, handler=handler, mark=mark)
            self._update_code(name, self._zip(module, source))
            yield mark

    def _zip(self, module: str, source: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, *module.split(".")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
            return package([Path(folder), self._library])

    @contextmanager
    def _put_back(self, name: str) -> Iterator[dict[str, Any] | None]:
        """Put the function back after the block, or delete it if it was not there; yield its settings.

        The settings are None if it is not there.
        """
        try:
            found = self._client.get_function(FunctionName=name)
        except self._client.exceptions.ResourceNotFoundException:
            found = None
        code = self._download(found["Code"]["Location"]) if found else b""
        settings = found and found["Configuration"]
        try:
            yield settings
        finally:
            if settings:
                self._update_code(name, code)
                self._update_settings(name, settings)
            else:
                # Unless it was refused.
                with suppress(self._client.exceptions.ResourceNotFoundException):
                    self._client.delete_function(FunctionName=name)

    def _update_settings(self, name: str, settings: dict[str, Any]) -> None:
        wanted = EMPTY | {key: value for key, value in settings.items() if key in SETTINGS}
        now = EMPTY | self._client.get_function_configuration(FunctionName=name)
        if any(now[key] != value for key, value in wanted.items()):
            layers = [layer["Arn"] for layer in wanted.pop("Layers")]
            self._client.update_function_configuration(FunctionName=name, Layers=layers, **wanted)
            self._wait(name)

    def _download(self, location: str) -> bytes:
        """Return the code from where Lambda says; LocalStack names itself and its usual port there."""
        parts = urlsplit(location)
        address = f"{self._stack.address('localstack')}{parts.path}?{parts.query}"
        response = urllib3.request("GET", address, headers={"Host": parts.netloc}, timeout=30)
        if response.status != 200:
            raise FunctionError(f"the code at {location} cannot be read: {response.status}")
        return response.data

    def _update_code(self, name: str, code: bytes) -> None:
        self._client.update_function_code(FunctionName=name, ZipFile=code)
        self._wait(name)

    def _wait(self, name: str) -> None:
        waiter = self._client.get_waiter("function_updated_v2")
        waiter.wait(FunctionName=name, WaiterConfig=WAITER)


class Stub:
    """What a stub was asked."""

    def __init__(self, logs: Any, name: str, mark: str) -> None:
        """Ask nothing yet.

        :param logs: boto3's client for the stack's CloudWatch Logs.
        :param mark: what stands before each event in the function's own log.
        """
        self._logs = logs
        self._group = f"/aws/lambda/{name}"
        self._mark = mark
        self._since = int(time.time() * 1000)

    @property
    def events(self) -> list[Any]:
        """The events of its calls that have ended, the earliest first."""
        pages = self._logs.get_paginator("filter_log_events").paginate(
            logGroupName=self._group, startTime=self._since
        )
        try:
            # They come stream after stream.
            events = sorted((event for page in pages for event in page["events"]), key=_when)
        except self._logs.exceptions.ResourceNotFoundException:
            return []
        texts = [event["message"].partition(self._mark)[2] for event in events]
        return [json.loads(text) for text in texts if text]


def _when(event: dict[str, Any]) -> int:
    return int(event["timestamp"])
