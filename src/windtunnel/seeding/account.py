"""The account of failures. The probe reads it twice a second, so this imports next to nothing."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from windtunnel import locks


def file(variables: Mapping[str, str]) -> Path:
    """Return the file that says what has failed since LocalStack started: {function or file: reason}.

    :param variables: LocalStack's.
    """
    return Path(variables.get("TMPDIR", "/tmp")) / "windtunnel-seeding.json"  # noqa: S108 - in its container


def failures(variables: Mapping[str, str]) -> dict[str, str]:
    """Return what has failed and is not fixed yet, and why: by file or function folder.

    :param variables: LocalStack's.
    """
    path = file(variables)
    return json.loads(path.read_text()) if path.exists() else {}


@contextmanager
def changed() -> Iterator[dict[str, str]]:
    """Hand out this LocalStack's failures to be changed, locked against other processes; then save them."""
    path = file(os.environ)
    # The watch in LocalStack's process and `./windtunnel deploy` may want to deploy at the same time.
    with locks.exclusive(Path(f"{path}.lock")):
        wrong = failures(os.environ)
        yield wrong
        path.write_text(json.dumps(wrong))
