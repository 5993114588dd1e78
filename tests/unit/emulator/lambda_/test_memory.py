"""Memory of processes of this machine."""

import os
import subprocess
import sys

from windtunnel_emulator.lambda_ import memory

MIB = 1024 * 1024
HOLD = "x = b'x' * (64 * 2**20); print('held', flush=True); input()"
HELD_BY_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"
GIVEN_BACK = "x = b'x' * (64 * 2**20); del x; print('held', flush=True); input()"


def holding(program: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_tree_counts_the_process() -> None:
    with holding(HOLD) as process:
        assert 64 * MIB < memory.tree_bytes(process.pid) < 100 * MIB
        process.communicate("\n")


def test_tree_counts_children() -> None:
    with holding(HELD_BY_CHILD) as process:
        assert memory.tree_bytes(process.pid) > 64 * MIB
        assert memory.peak_bytes(process.pid) < 64 * MIB
        process.communicate("\n")


def test_peak_remembers_what_was_given_back() -> None:
    with holding(GIVEN_BACK) as process:
        assert memory.tree_bytes(process.pid) < 64 * MIB < memory.peak_bytes(process.pid)
        process.communicate("\n")


def test_a_process_that_is_gone_has_none() -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert memory.tree_bytes(process.pid) == 0
        assert memory.peak_bytes(process.pid) == 0
    assert memory.tree_bytes(process.pid) == 0
    assert memory.peak_bytes(process.pid) == 0
