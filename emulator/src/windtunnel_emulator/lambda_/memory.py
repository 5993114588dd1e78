"""Resident memory of a process and its descendants, read from Linux's /proc."""

import os
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")


def tree_bytes(pid: int) -> int:
    """Return the resident memory of a process and its descendants now.

    :param pid: the root of the tree
    :return: bytes; processes that are gone count nothing
    """
    return sum(_resident_bytes(member) for member in _tree(pid))


def peak_bytes(pid: int) -> int:
    """Return the most memory one process has ever held, as the kernel recorded it.

    It sees what a sample misses: memory taken and given back between two of them.

    :param pid: the process
    :return: bytes; 0 if the process is gone
    """
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0  # a zombie has no memory lines


def _resident_bytes(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def _tree(pid: int) -> list[int]:
    members = [pid]
    for member in members:  # grows while we walk it
        for children in (_PROC / str(member) / "task").glob("*/children"):
            try:
                members += map(int, children.read_text().split())
            except OSError:
                continue
    return members
