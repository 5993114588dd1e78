"""The logs of a stack's processes."""

import time
from collections.abc import Sequence

from windtunnel.local.layout import Layout
from windtunnel.stack.base import Say

# The time between two looks at a growing log, in seconds.
FOLLOW = 0.2


def lines(layout: Layout, label: str, tail: int | None = None) -> list[str]:
    """Return the lines of a process's log so far, and of the older log that was moved aside.

    :param tail: that many of the last lines; None for all.
    """
    log = layout.log(label)
    files = [file for file in (log.with_suffix(".log.1"), log) if file.exists()]
    found = [line for file in files for line in file.read_text(errors="replace").splitlines()]
    return found if tail is None else found[max(len(found) - tail, 0) :]


def text(layout: Layout, labels: Sequence[str], tail: int | None = None) -> str:
    """Return the logs of several processes; if there is more than one, each line begins with the label."""
    found = [_prefix(label, labels) + line for label in labels for line in lines(layout, label, tail)]
    return "".join(f"{line}\n" for line in found)


def show(layout: Layout, labels: Sequence[str], *, follow: bool, tail: int | None, on_line: Say) -> None:
    """Hand over the lines of logs.

    :param follow: go on as lines are written, until the stack ends.
    """
    logs = {label: layout.log(label) for label in labels}
    read = {label: log.stat().st_size if log.exists() else 0 for label, log in logs.items()}
    for line in text(layout, labels, tail).splitlines():
        on_line(line)
    while follow and layout.run.exists():
        for label in labels:
            for line in _grown(layout, label, read):
                on_line(f"{_prefix(label, labels)}{line}")
        time.sleep(FOLLOW)


def _prefix(label: str, labels: Sequence[str]) -> str:
    return "" if len(labels) == 1 else f"{label:<14}| "


def _grown(layout: Layout, label: str, read: dict[str, int]) -> list[str]:
    """Return whole lines that have come since the last look."""
    if not (file := layout.log(label)).exists():
        return []
    if file.stat().st_size < read[label]:  # moved aside
        read[label] = 0
    with file.open("rb") as log:
        log.seek(read[label])
        whole, newline, _ = log.read().rpartition(b"\n")
    read[label] += len(whole + newline)
    return whole.decode(errors="replace").splitlines() if newline else []
