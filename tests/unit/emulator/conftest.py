"""Functions run for real here, under AWS's runtime client, with a Python of their own."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from windtunnel_emulator.lambda_ import interpreter


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def python() -> interpreter.Interpreter:
    return interpreter.inspect(os.environ["LAMBDA_RUNTIME_PYTHON"])
