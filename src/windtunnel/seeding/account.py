"""The account of what was seeded since LocalStack started. The probe reads it twice a second.

So this imports next to nothing.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

from windtunnel import locks


class Account(TypedDict):
    """What has become of the files."""

    failures: dict[str, str]
    """What is not fixed yet, and why: by file, or by folder of a function."""
    deployed: dict[str, dict[str, Any]]
    """The settings of each function at its last deployment, by its folder."""
    called: list[str]
    """The marks of the calls of ``config/aws.json`` that were made."""


def file(variables: Mapping[str, str]) -> Path:
    """Return the account's file, for a LocalStack with these variables."""
    return Path(variables.get("TMPDIR", "/tmp")) / "windtunnel-seeding.json"  # noqa: S108 - in its container


def read(variables: Mapping[str, str]) -> Account:
    """Return the account of the LocalStack that has these variables."""
    path = file(variables)
    return json.loads(path.read_text()) if path.exists() else {"failures": {}, "deployed": {}, "called": []}


def _progress_file(variables: Mapping[str, str]) -> Path:
    return file(variables).with_suffix(".progress")


def progress(variables: Mapping[str, str]) -> str:
    """Return what the LocalStack that has these variables said last of an installation; empty if nothing."""
    path = _progress_file(variables)
    return path.read_text() if path.exists() else ""


def report(line: str) -> None:
    """Keep a line on an installation for whoever waits for it; an empty one as LocalStack starts."""
    _progress_file(os.environ).write_text(line)


@contextmanager
def changed() -> Iterator[Account]:
    """Hand out the account to be changed, then save it, whatever happens; other processes wait meanwhile."""
    path = file(os.environ)
    # The watch in LocalStack's process and `./windtunnel deploy` may deploy at the same time.
    with locks.exclusive(Path(f"{path}.lock")):
        account = read(os.environ)
        try:
            yield account
        finally:
            path.write_text(json.dumps(account))
