import os
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from windtunnel.local import postgres as local_postgres


def test_a_postgres_of_another_user_is_ended_by_its_file(tmp_path: Path) -> None:
    postgres = tmp_path / "postgres"
    shutil.copy("/usr/bin/sleep", postgres)
    pid_file = tmp_path / "postmaster.pid"
    # A shell's background job, which this may be in, ignores SIGINT, and so would these; Postgres never does.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    processes = [
        subprocess.Popen([program, "600"], preexec_fn=heed) for program in (postgres, postgres, "sleep")
    ]
    ours, later, other = processes
    try:
        for process, started in ((other, time.time()), (later, time.time() - 60), (ours, time.time())):
            pid_file.write_text(f"{process.pid}\n/data\n{started:.0f}\n5432\n")
            local_postgres.end(pid_file)

        assert ours.wait(5) == -signal.SIGINT, "what is committed would be lost"
        assert (later.poll(), other.poll()) == (None, None), "the number was another's by then"

        # Long gone, or none.
        local_postgres.end(pid_file)
        pid_file.unlink()
        local_postgres.end(pid_file)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_what_is_left_of_a_killed_postgres_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ipcrm = tmp_path / "bin" / "ipcrm"
    ipcrm.parent.mkdir()
    ipcrm.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/called\n')
    ipcrm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ipcrm.parent}:{os.environ['PATH']}")
    pid_file = tmp_path / "postmaster.pid"

    local_postgres.remove_segment(pid_file)
    pid_file.write_text("1234\n/data\n1700000000\n5432\n\n127.0.0.1\n  5432001  98765\nready\n")
    local_postgres.remove_segment(pid_file)

    assert (tmp_path / "called").read_text() == "-m 98765\n"
