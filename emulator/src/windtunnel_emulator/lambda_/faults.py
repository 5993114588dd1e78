"""The ways a runtime can fail an invocation, in AWS's words."""

import json
import signal

from windtunnel_emulator.lambda_.invocation_log import failed_status


class RuntimeFault(Exception):
    """The runtime did not answer an invocation; its process is of no more use."""

    error_type: str
    """As the caller gets it."""
    status: str
    """Fields for the REPORT line."""

    def payload(self, request_id: str) -> bytes:
        """Return the error document the caller gets."""
        document = {"errorType": self.error_type, "errorMessage": f"RequestId: {request_id} Error: {self}"}
        return json.dumps(document).encode()

    def log_lines(self, request_id: str, timestamp: str) -> list[str]:
        """Return the platform's log lines on it.

        :param timestamp: now, ISO 8601 in UTC
        """
        return [f"RequestId: {request_id} Error: {self}", self.error_type]


class InitFailed(RuntimeFault):
    """The function could not be loaded. The runtime client said why and has logged it."""

    def __init__(self, document: bytes) -> None:
        """Take over the runtime client's error document."""
        super().__init__(document.decode(errors="replace"))
        self._document = document
        self.status = failed_status(json.loads(document).get("errorType") or "Runtime.Unknown")

    def payload(self, request_id: str) -> bytes:
        """Return the runtime client's own document."""
        return self._document

    def log_lines(self, request_id: str, timestamp: str) -> list[str]:
        """Return nothing."""
        return []


class TimedOut(RuntimeFault):
    """The function ran longer than its Timeout."""

    error_type = "Sandbox.Timedout"
    status = failed_status(None)

    def __init__(self, timeout_seconds: int) -> None:
        """Create the fault of a function with this Timeout."""
        super().__init__(f"Task timed out after {timeout_seconds}.00 seconds")

    def log_lines(self, request_id: str, timestamp: str) -> list[str]:
        """Return the line, which an empty one follows on AWS."""
        return [f"{timestamp} {request_id} {self}", ""]


class RuntimeExited(RuntimeFault):
    """The process ended: `sys.exit`, `os._exit`, a signal."""

    error_type = "Runtime.ExitError"
    status = failed_status(error_type)

    def __init__(self, returncode: int) -> None:
        """Create the fault of a process with this exit status, or minus the signal that ended it."""
        reason = f"with error: exit status {returncode}"
        if returncode == 0:
            reason = "without providing a reason"
        elif returncode < 0:
            reason = f"with error: signal: {(signal.strsignal(-returncode) or 'unknown').lower()}"
        super().__init__(f"Runtime exited {reason}")


class OutOfMemory(RuntimeExited):
    """The function used more than its MemorySize and was killed. On AWS, too, only REPORT says so."""

    status = failed_status("Runtime.OutOfMemory")

    def __init__(self) -> None:
        """Create the fault."""
        super().__init__(-signal.SIGKILL)
