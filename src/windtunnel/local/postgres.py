"""Ends a Postgres that supervisord no longer holds, and removes what it leaves."""

import contextlib
import signal
import subprocess
from pathlib import Path

import psutil

from windtunnel.local import processes
from windtunnel.waiting import WaitTimeout, wait_until

# How long it may take to end, in seconds.
PATIENCE = 10.0


def end(pid_file: Path) -> None:
    """End a Postgres that runs on without supervisord.

    Root runs it as another user, whose processes may be hidden from root in a container, so its file is read:
    the first line is its process's id, the third its start, in seconds since the epoch.

    At SIGINT it ends its own processes, too, and writes down what it has committed. SIGQUIT, with
    `synchronous_commit=off`, loses the last 0.6 s of that (three times `wal_writer_delay`).
    """
    lines = _lines(pid_file)
    if len(lines) < 3:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(lines[0]))
        # The id may be another process's by now.
        if process.name() != "postgres" or process.create_time() >= int(lines[2]) + 1:
            return
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(WaitTimeout):
            wait_until("Postgres to end", lambda: not processes.is_alive(process.pid), timeout=PATIENCE)
            return
        process.send_signal(signal.SIGQUIT)
        wait_until("Postgres to end at once", lambda: not processes.is_alive(process.pid), timeout=PATIENCE)


def remove_segment(pid_file: Path) -> None:
    """Remove what a Postgres that was killed leaves: shared memory, and the file that says that it runs.

    The file's seventh line holds key and id of a System V segment, which only Postgres's next start would
    remove; and that refuses while a process with the id in the first line is there, even a zombie.
    """
    lines = _lines(pid_file)
    if len(lines) > 6 and len(lines[6].split()) == 2:
        segment = lines[6].split()[1]
        # Without their first process the others end by themselves.
        wait_until("Postgres's processes to end", lambda: not _attached(segment), timeout=10)
        subprocess.run(["ipcrm", "-m", segment], capture_output=True, check=False)  # noqa: S603, S607
    pid_file.unlink(missing_ok=True)


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _attached(segment: str) -> int:
    """Return how many processes use a shared memory segment, by sysvipc(7)."""
    rows = [line.split() for line in _lines(Path("/proc/sysvipc/shm"))[1:]]
    return sum(int(row[6]) for row in rows if row[1] == segment)
