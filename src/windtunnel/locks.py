"""File locks, by which processes wait for each other. The system frees a killed process's locks."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def exclusive(path: Path, on_wait: Callable[[], Any] = lambda: None) -> Iterator[None]:
    """Hold a file's lock during the block; call ``on_wait`` first if another process still holds it."""
    with path.open("w") as lock:
        if not try_exclusive(lock):
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def try_exclusive(lock: IO[str]) -> bool:
    """Take the lock of an open file if no other process holds it, and return whether that was so."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def share(lock: IO[str]) -> None:
    """Hold the lock of an open file together with others, until the file is closed or the process ends."""
    fcntl.flock(lock, fcntl.LOCK_SH)
