"""Ends a Postgres that supervisord no longer holds, and removes what it leaves."""

import contextlib
import signal
import subprocess
from functools import partial
from pathlib import Path

import psutil

from windtunnel.local import processes
from windtunnel.waiting import WaitTimeout, wait_until

# How long it may take to end, in seconds.
PATIENCE = 10.0


def end(pid_file: Path) -> None:
    """End a Postgres that runs on without supervisord.

    Root runs it as another user, of whose processes root may know nothing in a container. Its file tells: the
    first line is its process's id, the third when it was started, in seconds since the epoch.

    At SIGINT it ends its own processes, too, and writes down what it has committed. SIGQUIT, with
    `synchronous_commit=off`, loses the last 0.6 s of that (three times `wal_writer_delay`).
    """
    lines = pid_file.read_text().splitlines() if pid_file.exists() else []
    if len(lines) < 3:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(lines[0]))
        # The id may be another process's by now.
        if process.name() == "postgres" and process.create_time() < int(lines[2]) + 1:
            is_alive = partial(processes.is_alive, process.pid)
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(WaitTimeout):
                wait_until("Postgres to end", lambda: not is_alive(), timeout=PATIENCE)
                return
            process.send_signal(signal.SIGQUIT)
            wait_until("Postgres to end at once", lambda: not is_alive(), timeout=PATIENCE)


def remove_segment(pid_file: Path) -> None:
    """Remove what a Postgres that was killed leaves: shared memory, and the file that says that it runs.

    The file's seventh line holds key and id of a System V segment, which only Postgres's next start would
    remove. That start would refuse, too, while a process of the id in the first line is there, even a zombie.
    """
    lines = pid_file.read_text().splitlines() if pid_file.exists() else []
    if len(lines) > 6 and len(lines[6].split()) == 2:
        segment = lines[6].split()[1]
        # Without their first process the others end by themselves.
        wait_until("Postgres's processes to end", lambda: not _attached(segment), timeout=10)
        subprocess.run(["ipcrm", "-m", segment], capture_output=True, check=False)  # noqa: S603, S607
    pid_file.unlink(missing_ok=True)


def _attached(segment: str) -> int:
    """How many processes use a shared memory segment, by sysvipc(7)."""
    table = Path("/proc/sysvipc/shm")
    rows = [line.split() for line in table.read_text().splitlines()[1:]] if table.exists() else []
    return sum(int(row[6]) for row in rows if row[1] == segment)
