"""Catching what a handler says during one call: its ``logging`` records, and what it prints."""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TextIO

Sink = Callable[[int, str, float, str], None]
"""Takes a level, a text, a time in seconds since the epoch, and the logger's name, empty for prints."""


class _RecordHandler(logging.Handler):
    """Pass each record on, whole: message, traceback and stack are one text."""

    def __init__(self, sink: Sink, silent_thread: int | None) -> None:
        super().__init__()
        self._sink = sink
        self._silent_thread = silent_thread

    def emit(self, record: logging.LogRecord) -> None:
        # What the sending thread's HTTP client logs must not be sent: each call would cause the next one.
        if record.thread == self._silent_thread:
            return
        try:
            self._sink(record.levelno, self.format(record), record.created, record.name)
        except Exception:
            self.handleError(record)


class _Tee:
    """A text stream that also passes on what is printed to it.

    One text ends where a write ends a line, so ``print("a\\nb")`` and a warning with its source line stay
    whole. Each thread has a text of its own, as ``print`` writes the line break separately.
    """

    def __init__(self, stream: TextIO, level: int, sink: Sink, handler: logging.Handler) -> None:
        self._stream = stream
        self._level = level
        self._sink: Sink | None = sink
        self._handler = handler
        self._unfinished: dict[int, str] = {}

    def write(self, text: str) -> int:
        written = self._stream.write(text)
        if self._sink is None or _is_caught_as_record(self._handler):
            return written
        thread = threading.get_ident()
        whole = self._unfinished.pop(thread, "") + text
        if whole.endswith("\n"):
            self._pass_on(whole[:-1])
        elif whole:
            self._unfinished[thread] = whole
        return written

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def _pass_on(self, text: str) -> None:
        if self._sink is not None:
            self._sink(self._level, text, time.time(), "")

    def finish(self) -> None:
        """Pass on lines without a line break, then only print: logging handlers may keep this object."""
        for text in list(self._unfinished.values()):
            self._pass_on(text)
        self._unfinished.clear()
        self._sink = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _is_caught_as_record(handler: logging.Handler) -> bool:
    """Say whether what is being written is a record that this handler has seen.

    Lambda's own handler prints each record to standard output, where it would be caught a second time. But
    if a logger was cut off from the root during the call, or the root was set up again, we have not seen it.
    """
    frame: FrameType | None = sys._getframe(1)
    in_logging = False
    while frame is not None:
        if frame.f_globals.get("__name__") == "logging":
            in_logging = True
            if frame.f_code.co_name == "callHandlers":
                return _reaches(frame.f_locals["self"], handler)
        frame = frame.f_back
    return in_logging and handler in logging.root.handlers


def _reaches(logger: logging.Logger, handler: logging.Handler) -> bool:
    on_the_way: logging.Logger | None = logger
    while on_the_way is not None:
        if handler in on_the_way.handlers:
            return True
        on_the_way = on_the_way.parent if on_the_way.propagate else None
    return False


@contextlib.contextmanager
def captured(sink: Sink, silent_thread: int | None) -> Iterator[None]:
    """Pass everything logged, printed and warned about during the block to a sink.

    The function's own log gets all of it as before. What the function's loggers drop by level is dropped
    here too. Printed text counts as INFO, on standard error (where ``warnings`` go) as WARNING.

    :param sink: called from whichever thread logs or prints; must be quick.
    :param silent_thread: id of the thread whose records are left out.
    """
    handler = _RecordHandler(sink, silent_thread)
    # A record's way ends at the root, or at a logger that does not propagate.
    named = logging.root.manager.loggerDict.values()
    loggers = [logger for logger in named if isinstance(logger, logging.Logger) and not logger.propagate]
    loggers.append(logging.root)
    out = _Tee(sys.stdout, logging.INFO, sink, handler)
    err = _Tee(sys.stderr, logging.WARNING, sink, handler)
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        out.finish()
        err.finish()
