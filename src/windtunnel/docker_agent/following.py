"""Follows containers of Docker's to their end: what they write goes into a file, how they end into another.

Both files are in a container's folder and outlive this process; the next one goes on where this one ended.
"""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from docker import APIClient
from docker.errors import NotFound

from windtunnel.agent.container import OUT_OF_MEMORY_NOTE
from windtunnel.agent.runtime import Exit

LOG = logging.getLogger(__name__)

# Before Docker is asked again that did not answer, or a full disk is tried again, in seconds.
PAUSE = 0.5

# How long a container may take to end that has closed its output, before that is read again, in seconds.
END_TIMEOUT = 10

REMOVED = "The container was removed by somebody else"


class Following:
    """Has a thread for each container that runs; any thread may ask."""

    def __init__(self, api: APIClient) -> None:
        """Follow nothing yet."""
        self._api = api
        self._lock = threading.Lock()
        self._threads: dict[Path, threading.Thread] = {}

    def exit(self, name: str, folder: Path) -> Exit | None:
        """Return how a container has ended, once all that it has written is there; until then follow it."""
        if (note := folder / "status").exists():
            return Exit(**json.loads(note.read_text()))
        with self._lock:
            if folder not in self._threads or not self._threads[folder].is_alive():
                thread = threading.Thread(target=self._follow, args=(name, folder), name=name, daemon=True)
                self._threads[folder] = thread
                thread.start()
        return None

    def forget(self, folder: Path) -> None:
        """Follow a container no more, which was removed."""
        with self._lock:
            self._threads.pop(folder, None)

    def _follow(self, name: str, folder: Path) -> None:
        while folder.exists():
            try:
                ended = self._once(name, folder)
            except NotFound:
                ended = Exit(128 + signal.SIGKILL, REMOVED)
            except OSError as error:
                LOG.info("%s: %s", name, error)
                ended = None
            if ended and _noted(ended, folder):
                return
            time.sleep(PAUSE)

    def _once(self, name: str, folder: Path) -> Exit | None:
        """Read a container's output to the end; return how it has ended, or None if it still runs."""
        keeps_output = self._api.inspect_container(name)["HostConfig"]["LogConfig"]["Type"] != "none"
        if keeps_output:
            append(folder / "output", self._api.logs(name, stream=True, follow=True))
        # What has written all of its output is about to end.
        self._api.wait(name, timeout=END_TIMEOUT if keeps_output else None)
        state = self._api.inspect_container(name)["State"]
        if state["Running"]:
            return None
        if state["OOMKilled"]:
            (folder / OUT_OF_MEMORY_NOTE).touch()
        return Exit(state["ExitCode"], state["Error"] or None)


def append(path: Path, chunks: Iterable[bytes]) -> None:
    """Append to a file what it does not have yet of an output that comes from its beginning."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0) as file:
        left_out = os.fstat(file.fileno()).st_size
        for chunk in chunks:
            new = memoryview(chunk)[left_out:]
            left_out = max(left_out - len(chunk), 0)
            while new:
                new = new[file.write(new) :]


def _noted(ended: Exit, folder: Path) -> bool:
    """Note how a container has ended; return whether there was room for it."""
    new = folder / "status.new"
    with suppress(OSError):
        new.write_text(json.dumps({"code": ended.code, "reason": ended.reason}))
        new.replace(folder / "status")
        return True
    return not folder.exists()
