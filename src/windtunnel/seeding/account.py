"""The account of failures. The probe reads it twice a second, so this imports next to nothing."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from windtunnel import locks


def file(variables: Mapping[str, str]) -> Path:
    """Return the file of what has failed since LocalStack, which has these variables, started."""
    return Path(variables.get("TMPDIR", "/tmp")) / "windtunnel-seeding.json"  # noqa: S108 - in its container


def failures(variables: Mapping[str, str]) -> dict[str, str]:
    """Return which files or functions' folders have failed and are not fixed yet, each with the reason."""
    path = file(variables)
    return json.loads(path.read_text()) if path.exists() else {}


@contextmanager
def changed() -> Iterator[dict[str, str]]:
    """Hand out the failures to be changed, then save them; other processes wait meanwhile."""
    path = file(os.environ)
    # The watch in LocalStack's process and `./windtunnel deploy` may deploy at the same time.
    with locks.exclusive(Path(f"{path}.lock")):
        wrong = failures(os.environ)
        yield wrong
        path.write_text(json.dumps(wrong))
