"""Names of tries and streams, and what a function does without."""

import subprocess
import sys
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest

from airflow_relay import contract, naming
from windtunnel.stack.settings import ROOT

# Each costs the start of a function milliseconds, which the caller of a cold function waits for.
DEAR = {"dataclasses", "hashlib", "inspect", "urllib.parse"}
MODULES = """
import sys
import contextlib, functools, json, logging, re, threading, traceback, typing
before = set(sys.modules)
import airflow_relay.decorator
print(*sys.modules.keys() - before)
"""


@pytest.mark.bad_input(17)
def test_idempotency_key_can_be_decoded() -> None:
    key = naming.idempotency_key("d/ä", "manual__2025-11-20T00:00:00+00:00", "t*", 3, 2)

    parts = [unquote(part) for part in key.split("/")]
    assert parts == ["d/ä", "manual__2025-11-20T00:00:00+00:00", "t*", "3", "2"]


@pytest.mark.bad_input(17)
def test_stream_name_is_valid_and_names_the_try() -> None:
    key = naming.idempotency_key("demo-dag", "manual__2025-11-20T00:00:00+00:00", "demo*task", -1, 1)

    name = naming.stream_name(datetime(2025, 11, 20, tzinfo=UTC), "$LATEST", key, "abc")

    assert name == "2025/11/20/[$LATEST]demo-dag/manual__2025-11-20T00%3A00%3A00+00%3A00/demo%2Atask/-1/1/abc"
    assert contract.check_stream_name(name) == name


@pytest.mark.bad_input(17)
def test_long_stream_names_are_cut_and_stay_distinct() -> None:
    day = datetime(2025, 11, 20, tzinfo=UTC)
    names = {
        naming.stream_name(day, None, naming.idempotency_key("ü" * 250, "r" * 250, task, -1, 1), "uid")
        for task in ("a", "b")
    }

    assert len(names) == 2
    for name in names:
        assert len(name) == 512
        assert name.endswith("/uid")
        contract.check_stream_name(name)


def test_a_function_starts_without_dear_modules() -> None:
    command = [sys.executable, "-c", MODULES]
    done = subprocess.run(command, cwd=ROOT / "lambdas", check=True, capture_output=True, text=True)

    assert not DEAR.intersection(done.stdout.split())
