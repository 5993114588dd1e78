"""What one invocation writes to its log: the function's output and the platform's own lines."""

import re
from math import ceil

from windtunnel_emulator.lambda_.limits import KEPT_TAIL_BYTES, MAX_LOG_BYTES

# The runtime client joins the lines of an error with carriage returns, and AWS shows line feeds. The carriage
# returns that a function writes stay as they are.
_ERROR = re.compile(
    r"^\[ERROR\] \w[^\n]*|^[^\n]*\rTraceback \(most recent call last\):\r[^\n]*", re.MULTILINE
)


class InvocationLog:
    """Output since the last invocation ended, bounded however much the function writes."""

    def __init__(self, max_bytes: int = MAX_LOG_BYTES, tail_bytes: int = KEPT_TAIL_BYTES) -> None:
        """Create an empty log.

        :param max_bytes: output kept from the start
        :param tail_bytes: of what follows, bytes kept from the end
        """
        self._max_bytes = max_bytes
        self._tail_bytes = tail_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def write(self, output: bytes) -> None:
        """Append raw output of the function."""
        room = self._max_bytes - len(self._head)
        self._head += output[:room]
        self._tail += output[room:]
        excess = len(self._tail) - self._tail_bytes
        if excess > 0:
            del self._tail[:excess]
            self._dropped += excess

    def line(self, text: str) -> None:
        """Append a line of the platform, on a line of its own."""
        last = self._tail or self._head
        if last and not last.endswith(b"\n"):
            self.write(b"\n")
        self.write(text.encode() + b"\n")

    def take(self) -> str:
        """Return everything and start over."""
        parts = [bytes(self._head)]
        if self._dropped:
            parts.append(b"\n[%d bytes of output were dropped here]\n" % self._dropped)
        parts.append(bytes(self._tail))
        self._head.clear()
        self._tail.clear()
        self._dropped = 0
        output = b"".join(parts).decode(errors="replace")
        return _ERROR.sub(lambda error: error[0].replace("\r", "\n"), output)


def report_line(
    *,
    request_id: str,
    duration_ms: float,
    init_duration_ms: float | None,
    memory_size_mb: int,
    max_memory_used_mb: int,
    status: str = "",
) -> str:
    """Return the REPORT line, tabs and all.

    :param init_duration_ms: how long a cold start took; None for a warm invocation
    :param status: fields after an abnormal end, from `failed_status`
    """
    fields = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {duration_ms:.2f} ms",
        # Since August 2025 the Init phase is billed as well.
        f"Billed Duration: {ceil(duration_ms + (init_duration_ms or 0))} ms",
        f"Memory Size: {memory_size_mb} MB",
        f"Max Memory Used: {max_memory_used_mb} MB",
    ]
    if init_duration_ms is not None:
        fields.append(f"Init Duration: {init_duration_ms:.2f} ms")
    fields.append(status)
    return "\t".join(fields)


def init_report_line(phase: str, duration_ms: float, status: str) -> str:
    """Return the line on an Init phase that failed.

    :param phase: `init`, or `invoke` when it was tried again for an invocation
    :param status: fields from `failed_status`
    """
    return f"INIT_REPORT Init Duration: {duration_ms:.2f} ms\tPhase: {phase}\t{status}"


def failed_status(error_type: str | None) -> str:
    """Return the fields a report line has after an abnormal end; None means a timeout."""
    return f"Status: error\tError Type: {error_type}" if error_type else "Status: timeout"
