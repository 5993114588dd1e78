"""Lambda functions for one test: deployed from a folder, or replaced by a stub; then as they were."""

import base64
import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3

from windtunnel.seeding import deployment, functions
from windtunnel.seeding.layers import Layers
from windtunnel.seeding.packaging import Packages, package
from windtunnel.seeding.required import Required
from windtunnel.seeding.validation import SeedingError
from windtunnel.stack.base import Stack
from windtunnel.stack.errors import StackError

__tracebackhide__ = True  # pytest shows the test's line that failed, and not the way through here

# The settings that Lambda both answers and takes as a change.
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

    def __init__(self, stack: Stack, aws: Callable[[str], Any]) -> None:
        """Change nothing yet.

        :param aws: makes boto3's clients for the stack's services.
        """
        self._stack = stack
        self._aws = aws
        self._client = aws("lambda")
        self._library = stack.root / "lambdas" / functions.LIBRARY
        self._packages = Packages(stack.settings.folder("LAMBDAS_FOLDER"), self._library, self._install)

    def _install(self, wanted: Required, prefix: str) -> bytes:
        """Install requirements in LocalStack's service, which has the functions' Python, on every engine."""
        asked = json.dumps([*wanted, prefix])
        try:
            command = ("python", "-m", "windtunnel.seeding.installing")
            return base64.b64decode(self._stack.exec("localstack", *command, stdin=asked))
        except StackError as error:
            raise SeedingError(error.output) from error

    def outdated(self) -> list[str]:
        """Return the functions whose folders have other code, or settings saved since their deployment.

        :raises windtunnel.SeedingError: naming what is wrong with a folder.
        """
        saved = functions.load_functions(self._stack.settings.folder("LAMBDAS_FOLDER"))
        there, layers = self._there(), Layers(self._packages, self._client)
        return [
            one.name
            for one in saved
            if not deployment.is_as_saved(one, there.get(one.name), self._packages.function(one), layers)
        ]

    def _there(self) -> dict[str, dict[str, Any]]:
        pages = self._client.get_paginator("list_functions").paginate()
        return {found["FunctionName"]: found for page in pages for found in page["Functions"]}

    @contextmanager
    def deployed(self, folder: Path) -> Iterator[str]:
        """Do what :meth:`windtunnel.RunningStack.deploy_function` says."""
        function = functions.load_function(folder, self._stack.python_of_functions())
        with self._put_back(function.name):
            layers = Layers(self._packages, self._client)
            deployment.deploy(function, self._client, self._packages.function(function), layers)
            yield function.name

    @contextmanager
    def stubbed(self, name: str, returns: Any, raises: Exception | None) -> "Iterator[Stub]":
        """Do what :meth:`windtunnel.RunningStack.stub_function` says.

        Settings, handler and log group stay the function's own.
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
            yield Stub(self._aws("logs"), name, mark)

    def _zip(self, module: str, source: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, *module.split(".")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
            return package([Path(folder), self._library])

    @contextmanager
    def _put_back(self, name: str) -> Iterator[dict[str, Any] | None]:
        """Put the function back after the block, or delete it if there was none; yield its settings."""
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
        """Return the code; LocalStack names itself and its usual port in the location."""
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
        self._client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=deployment.WAITER)


class Stub:
    """What a stub was asked."""

    def __init__(self, logs: Any, name: str, mark: str) -> None:
        """Ask nothing yet.

        :param logs: boto3's client for the stack's CloudWatch Logs.
        :param mark: comes before each event in the function's own log.
        """
        self._logs = logs
        self._group = f"/aws/lambda/{name}"
        self._mark = mark
        self._since = int(time.time() * 1000)

    @property
    def events(self) -> list[Any]:
        """The events of its calls that have ended, the earliest first."""
        paginator = self._logs.get_paginator("filter_log_events")
        pages = paginator.paginate(logGroupName=self._group, startTime=self._since)
        try:
            events = [event for page in pages for event in page["events"]]
        except self._logs.exceptions.ResourceNotFoundException:
            return []
        # They come stream after stream.
        events.sort(key=itemgetter("timestamp"))
        texts = [event["message"].partition(self._mark)[2] for event in events]
        return [json.loads(text) for text in texts if text]
