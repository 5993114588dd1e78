"""The ways a runtime can fail an invocation, in AWS's words."""

import json
import signal

from windtunnel_emulator.lambda_.invocation_log import failed_status


class RuntimeFault(Exception):
    """The runtime did not answer an invocation; its process is of no more use."""

    status: str
    """Fields for the REPORT line."""

    def payload(self, request_id: str) -> bytes:
        """Return the error document the caller gets."""
        raise NotImplementedError

    def log_lines(self, request_id: str, timestamp: str) -> list[str]:
        """Return the platform's log lines on it.

        :param timestamp: now, ISO 8601 in UTC
        """
        raise NotImplementedError


class InitFailed(RuntimeFault):
    """The function could not be loaded, and the runtime client said why."""

    def __init__(self, document: bytes) -> None:
        """Take over the runtime client's error document."""
        super().__init__(document.decode(errors="replace"))
        self._document = document
        self.status = failed_status(json.loads(document).get("errorType") or "Runtime.Unknown")

    def payload(self, request_id: str) -> bytes:
        """Return the runtime client's own document."""
        return self._document

    def log_lines(self, request_id: str, timestamp: str) -> list[str]:
        """Return nothing: the runtime client has logged the error itself."""
        return []


class TimedOut(RuntimeFault):
    """The function ran longer than its Timeout."""

    status = failed_status(None)

    def __init__(self, timeout_seconds: int) -> None:
        """Create the fault.

        :param timeout_seconds: the function's Timeout
        """
        super().__init__(f"Task timed out after {timeout_seconds}.00 seconds")

    def payload(self, request_id: str) -> bytes:
        """Return the error document, type `Sandbox.Timedout`."""
        return _document("Sandbox.Timedout", f"RequestId: {request_id} Error: {self}")

    def log_lines(self, request_id: str, timestamp: str) -> list[str]:
        """Return the line, which an empty one follows on AWS."""
        return [f"{timestamp} {request_id} {self}", ""]


class RuntimeExited(RuntimeFault):
    """The process ended: `sys.exit`, `os._exit`, a signal."""

    status = failed_status("Runtime.ExitError")

    def __init__(self, returncode: int) -> None:
        """Create the fault.

        :param returncode: exit status, or minus the signal
        """
        super().__init__(_exit_reason(returncode))

    def payload(self, request_id: str) -> bytes:
        """Return the error document, type `Runtime.ExitError`."""
        return _document("Runtime.ExitError", f"RequestId: {request_id} Error: {self}")

    def log_lines(self, request_id: str, timestamp: str) -> list[str]:
        """Return the same words as two lines."""
        return [f"RequestId: {request_id} Error: {self}", "Runtime.ExitError"]


class OutOfMemory(RuntimeExited):
    """The function used more than its MemorySize and was killed.

    As on AWS only the REPORT line calls it by its name.
    """

    status = failed_status("Runtime.OutOfMemory")

    def __init__(self) -> None:
        """Create the fault."""
        super().__init__(-signal.SIGKILL)


def _exit_reason(returncode: int) -> str:
    if returncode == 0:
        return "Runtime exited without providing a reason"
    if returncode < 0:
        return f"Runtime exited with error: signal: {(signal.strsignal(-returncode) or 'unknown').lower()}"
    return f"Runtime exited with error: exit status {returncode}"


def _document(error_type: str, message: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": message}).encode()
