"""Functions run for real here, under AWS's runtime client, with a Python of their own."""

import asyncio
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from moto.moto_api import state_manager

from windtunnel_emulator import states
from windtunnel_emulator.lambda_ import interpreter

from .calls import Call, provider, request


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def python() -> interpreter.Interpreter:
    return interpreter.inspect(os.environ["LAMBDA_RUNTIME_PYTHON"])


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls an operation of a control plane as LocalStack does, and returns status and answer."""
    # What others of LocalStack's process share.
    monkeypatch.setattr(state_manager, "_transitions", {})
    # Each look moves a state on.
    monkeypatch.setitem(states.EACH_SECOND, "seconds", 0)
    loaded: dict[str, Any] = {}

    def make(service: str, operation: str, **parameters: Any) -> tuple[int, Any]:
        if service not in loaded:
            loaded[service] = provider(service)
        context = request(service, operation, **parameters)
        answer = loaded[service].skeleton.invoke(context)
        return answer.status_code, json.loads(answer.get_data())

    return make
