"""Follows a log stream: from its events to whole lines, in order, each once."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from airflow_relay import contract
from custom.relay.others import OtherLines
from custom.relay.writing import Line

# So many missing events are awaited by number. The rest of a larger gap counts as lost.
MAX_AWAITED = 10_000
# Reads that fail are repeated this often at least.
LONGEST_POLL_SECONDS = 5.0
# How long the last events may take if the function was ended from outside and an end marker is unlikely.
UNLIKELY_DRAIN_SECONDS = 2.0
# A stream without an end marker counts as complete if nothing new has come for this long.
QUIET_SECONDS = 1.0

Reader = Callable[[str | None], tuple[list[dict[str, Any]], str | None]]

log = logging.getLogger(__name__)


class Follower:
    """Turns the events of one stream into lines. Events may come twice or late: their numbers tell."""

    def __init__(self, position: dict[str, Any] | None = None) -> None:
        """Begin before the first event, or at another follower's :meth:`position` in the same stream."""
        position = {"end": None, "lines": 0, "last": 0, "awaited": [], "others": None} | (position or {})
        self.end = contract.EndMarker(**position["end"]) if position["end"] else None
        """The end marker, once it was read. One from a position comes without its result."""
        self.lines: int = position["lines"]
        """How many lines were given out."""
        self.others = OtherLines(position["others"])
        """What ``@airflow_relay.relay`` did not write."""
        self._last: int = position["last"]
        self._awaited = {number for first, last in position["awaited"] for number in range(first, last + 1)}
        self._pieces: list[tuple[contract.Event, int]] = []

    def position(self) -> dict[str, Any]:
        """Return what another follower needs to go on from here, as JSON; only after :meth:`flush`."""
        return {
            "end": self.end.without_result()._asdict() if self.end else None,
            "lines": self.lines,
            "last": self._last,
            "awaited": _ranges(self._awaited),
            "others": self.others.position(),
        }

    @property
    def is_foreign(self) -> bool:
        """Say whether others have written what is in the stream, and ``@airflow_relay.relay`` nothing."""
        return self.others.count > 0 and self._last == 0 and self.end is None

    def feed(self, events: Iterable[dict[str, Any]]) -> Iterator[Line]:
        """Take events as GetLogEvents returns them; give out the lines they complete."""
        for raw in events:
            message, timestamp = raw["message"], raw["timestamp"]
            match contract.decode(message):
                case contract.EndMarker() as marker:
                    self.expect(marker)
                    self.end = marker
                    yield from self.flush()
                case contract.Event() as event:
                    if self._is_new(event.number):
                        yield from self._take(event, timestamp)
                case None:
                    yield from self.flush()
                    # A decorator outside of ours repeats the whole call after our end.
                    if self.others.is_new(message) and self.end is None:
                        yield self._line(logging.INFO, message, timestamp)

    def missing(self) -> int:
        """Return how many events before the last one read were never seen."""
        return len(self._awaited)

    def expect(self, marker: contract.EndMarker) -> None:
        """Learn from an end marker how many events there should be."""
        self._is_new(marker.number)

    def flush(self) -> Iterator[Line]:
        """Give out the line that waits for more pieces."""
        if self._pieces:
            (first, timestamp), *_ = self._pieces
            text = "".join(event.text for event, _ in self._pieces)
            self._pieces = []
            if self.others.is_ours_new(text):
                yield self._line(first.level, text, timestamp)

    def _is_new(self, number: int) -> bool:
        if number > self._last:
            self._awaited.update(range(self._last + 1, number)[:MAX_AWAITED])
            self._last = number
            return True
        if number in self._awaited:
            self._awaited.remove(number)
            return True
        return False

    def _take(self, event: contract.Event, timestamp: int) -> Iterator[Line]:
        if self._pieces and event.part != self._pieces[-1][0].part + 1:
            yield from self.flush()
        self._pieces.append((event, timestamp))
        if event.part == event.parts:
            yield from self.flush()

    def _line(self, level: int, text: str, timestamp: int) -> Line:
        self.lines += 1
        return Line(level, text, timestamp)


def _ranges(numbers: set[int]) -> list[list[int]]:
    """Return numbers as pairs of first and last: a gap in a stream is one pair, however wide."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges


class StreamRelay:
    """Copies a stream to the task log, bit by bit, and never lets a failing log service stop the task.

    :param read: from :meth:`custom.hooks.lambda_function.LambdaFunctionHook.stream_reader`.
    :param write: takes a line.
    :param poll_seconds: pause between two reads; doubled up to ``LONGEST_POLL_SECONDS`` while reads fail.
    :param position: where another relay of the same stream has ended, from its :meth:`position`.
    """

    def __init__(
        self, read: Reader, write: Callable[[Line], None], poll_seconds: float, position: Any = None
    ) -> None:
        """Begin before the start of the stream, or at a position."""
        position = position or {"token": None, "follower": None}
        self.follower = Follower(position["follower"])
        self.write = write
        self.pause = poll_seconds
        self.error = ""
        """Why the latest read failed; empty after one that did not."""
        self._poll_seconds = poll_seconds
        self._read = read
        self._token: str | None = position["token"]
        self._unshown: deque[dict[str, Any]] = deque()
        self._reading = threading.Lock()

    def position(self) -> dict[str, Any]:
        """Return what another relay, in another process, needs to go on from here, as JSON."""
        return {"token": self._token, "follower": self.follower.position()}

    def stream_exists(self) -> bool:
        """Say whether the function has made the stream, that is, whether it knows of the relay."""
        return self._token is not None

    def copy_new(self) -> None:
        """Copy what has come since the last call."""
        was_failing = bool(self.error)
        self.fetch()
        self.show()
        if self.error and not was_failing:
            log.warning("Log events cannot be read at the moment, trying on: %s", self.error)

    def fetch(self) -> int:
        """Read what has come, in any thread, for :meth:`show`; return how many events it is."""
        with self._reading:
            try:
                events, self._token = self._read(self._token)
            except Exception as error:
                # Any error of any client: whether the log can be read decides nothing.
                self.pause = min(self.pause * 2, max(LONGEST_POLL_SECONDS, self._poll_seconds))
                self.error = f"{type(error).__name__}: {error}"
                return 0
            self._unshown += events
            self.pause = self._poll_seconds
            self.error = ""
            return len(events)

    def show(self, max_chars: float = math.inf) -> bool:
        """Write the lines that were read, up to so many characters; say whether there are more."""
        shown = 0
        while self._unshown and shown < max_chars:
            event = self._unshown.popleft()
            shown += len(event["message"])
            for line in self.follower.feed([event]):
                self.write(line)
        return bool(self._unshown)

    def flush(self) -> None:
        """Write the line that waits for more pieces."""
        for line in self.follower.flush():
            self.write(line)

    def drain(self, seconds: float, pause: Callable[[float], None], *, is_marked: bool) -> None:
        """Copy on until the stream is complete, or for so many seconds.

        A stream that others write is complete once it is quiet, or after ``UNLIKELY_DRAIN_SECONDS``.

        :param pause: sleeps for so many seconds; what it raises ends the drain.
        :param is_marked: the function says that it has written an end marker.
        """
        begun = changed = time.monotonic()
        others = self.follower.others.count
        try:
            while not self.is_complete():
                deadline = begun + seconds
                if self.follower.is_foreign and not is_marked:
                    deadline = min(deadline, begun + UNLIKELY_DRAIN_SECONDS, changed + QUIET_SECONDS)
                if (left := deadline - time.monotonic()) <= 0:
                    break
                pause(min(self.pause, left))
                self.copy_new()
                if self.follower.others.count != others:
                    others, changed = self.follower.others.count, time.monotonic()
        finally:
            self.flush()

    def look_again(self, seconds: float, pause: Callable[[float], None]) -> None:
        """Copy what has come; while that fails, pause and try again, for so many seconds."""
        deadline = time.monotonic() + seconds
        self.copy_new()
        while self.error and time.monotonic() < deadline:
            pause(self.pause)
            self.copy_new()
        self.flush()

    def is_complete(self) -> bool:
        """Say whether the end marker and everything before it has been copied, or is known to be lost."""
        end = self.follower.end
        return end is not None and self.follower.missing() <= end.rejected + end.lost
