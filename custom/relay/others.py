"""Lines of a log stream that ``@airflow_relay.relay`` did not write, but another decorator or the handler."""

import re
from collections import Counter, deque
from typing import Any

# So many lines are remembered to tell which ones are there twice.
MAX_REMEMBERED = 5_000
# What another decorator puts before a line: level, date, time, logger and so on.
MAX_PREFIX_WORDS = 8

_LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")
_TRACEBACK = "Traceback (most recent call last)"


class OtherLines:
    """Tells which lines two decorators have both written, and whether the last ones are an error's.

    Each decorator writes a line in a form of its own: the other's ends with the text that ours has. Which of
    the two comes first in the stream does not matter; it is the one that is shown.
    """

    def __init__(self, position: dict[str, Any] | None = None) -> None:
        """Begin before the first line, or at another one's :meth:`position`."""
        position = position or {}
        self.count: int = position.get("count", 0)
        """How many events others have written."""
        self.repeated: int = position.get("repeated", 0)
        """How many lines and events were there twice."""
        self.error: str = position.get("error", "")
        """The first line of the error that the others' events end with; empty if they end with none."""
        self._in_traceback = False
        self._ours: Counter[int] = Counter()
        self._theirs: deque[str] = deque(maxlen=MAX_REMEMBERED)

    def position(self) -> dict[str, Any]:
        """Return what another process needs to go on from here, as JSON."""
        return {"count": self.count, "repeated": self.repeated, "error": self.error}

    def is_new(self, text: str) -> bool:
        """Take an event that others wrote; say whether our own lines lack it."""
        self.count += 1
        lines = _lines(text)
        for line in lines:
            self._note_error(line)
        found = [next((key for key in _without_prefix(line) if self._ours[key]), None) for line in lines]
        known = [key for key in found if key is not None]
        # Equal lines of one event need as many of ours.
        if known and len(known) == len(lines) and all(self._ours[k] >= n for k, n in Counter(known).items()):
            self._ours.subtract(known)
            self.repeated += 1
            return False
        self._theirs += [line.strip() for line in lines]
        return True

    def is_ours_new(self, text: str) -> bool:
        """Take a line of our own decorator; say whether the others' lines lack it."""
        lines = [line.strip() for line in _lines(text)]
        found = [next((their for their in self._theirs if _ends_with(their, line)), None) for line in lines]
        if lines and None not in found:
            for their in set(found):
                self._theirs.remove(str(their))
            self.repeated += 1
            return False
        if len(self._ours) < MAX_REMEMBERED:
            self._ours.update(map(hash, lines))
        return True

    def _note_error(self, line: str) -> None:
        level = _LEVEL.search(line)
        if _TRACEBACK in line:
            # The line before a traceback says more.
            self.error, self._in_traceback = self.error or line.strip(), True
        elif level:
            is_error = level[1] in ("ERROR", "CRITICAL")
            self.error, self._in_traceback = line.strip() if is_error else "", False
        elif not (self._in_traceback or line[:1].isspace()):
            self.error = ""


def _lines(text: str) -> list[str]:
    """Return the lines that hold something: other decorators leave the others out."""
    return [line for line in text.splitlines() if line.strip()]


def _without_prefix(line: str) -> list[int]:
    """Return what our own line may be: with so many words less at its front, as hashes."""
    rest, keys = line.strip(), []
    for _ in range(MAX_PREFIX_WORDS + 1):
        keys.append(hash(rest))
        rest = rest.partition(" ")[2].lstrip()
    return keys


def _ends_with(their: str, ours: str) -> bool:
    return their == ours or their.endswith(f" {ours}")
