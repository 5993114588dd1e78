"""What processes there are, read at one go: many containers ask for theirs, several times a second.

psutil reads a file or more for each process and question; here one file of each process answers all.
"""

import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGESIZE")

# For so long one reading serves all that ask about memory, in seconds.
FRESH = 0.25


@dataclass(frozen=True)
class Entry:
    """A process that has not ended."""

    pid: int
    parent: int
    session: int
    memory: int
    """What it has in memory, in bytes; what it shares with others is counted with each of them."""


class ProcessTable:
    """The machine's processes; any thread may ask."""

    def __init__(self) -> None:
        """Read nothing yet."""
        self._lock = threading.Lock()
        self._entries: dict[int, Entry] = {}
        self._read_at = -FRESH

    def entries(self, age: float = 0.0) -> dict[int, Entry]:
        """Return all processes by their ids, as they were at most ``age`` seconds ago."""
        with self._lock:
            if time.monotonic() - self._read_at >= age:
                self._entries = {entry.pid: entry for entry in map(_read, os.listdir("/proc")) if entry}
                self._read_at = time.monotonic()
            return self._entries

    def members(self, first: int, folder: Path, runner: int, age: float = 0.0) -> list[Entry]:
        """Return the processes of a container: those of its session and all that come from them.

        :param first: its first process, the leader of its session.
        :param folder: its folder, by which a daemon is known: such a process leaves both session and parent.
        :param runner: the process to which daemons fall.
        :param age: how old what is returned may be, in seconds.
        """
        entries = self.entries(age)
        roots = {pid for pid, entry in entries.items() if first in (pid, entry.session)}
        roots |= {
            pid
            for pid, entry in entries.items()
            if entry.parent == runner and pid not in roots and _works_in(pid, folder)
        }
        return [entries[pid] for pid in with_descendants(entries, roots)]

    def left_behind(self, folder: Path) -> list[Entry]:
        """Return the processes of a container whose runner is gone, by the folder in their environment."""
        entries = self.entries()
        roots = {pid for pid in entries if pid != os.getpid() and _works_in(pid, folder)}
        return [entries[pid] for pid in with_descendants(entries, roots)]


def with_descendants(entries: dict[int, Entry], roots: Iterable[int]) -> set[int]:
    """Return the ids of processes and of all that come from them."""
    children: dict[int, list[int]] = {}
    for entry in entries.values():
        children.setdefault(entry.parent, []).append(entry.pid)
    found: set[int] = set()
    new = set(roots)
    while new:
        found |= new
        new = {child for pid in new for child in children.get(pid, ())} - found
    return found


def exact_memory(pid: int) -> int:
    """Return the memory of a process in bytes; of what it shares with others its part."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _read(name: str) -> Entry | None:
    if not name.isdecimal():
        return None
    try:
        text = Path(f"/proc/{name}/stat").read_text()
    except OSError:
        return None
    # proc(5); the program's name, in brackets, may have brackets and blanks itself.
    state, parent, _, session, *rest = text.rpartition(")")[2].split()
    if state in "ZX":
        return None
    return Entry(int(name), int(parent), int(session), int(rest[17]) * _PAGE)


def _works_in(pid: int, folder: Path) -> bool:
    """Whether the temporary folder of a process, as it was when its program began, is a container's."""
    with suppress(OSError):
        return f"\0TMPDIR={folder}{os.sep}".encode() in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    return False
