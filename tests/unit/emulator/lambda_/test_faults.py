"""The words of a runtime's failures."""

import json

import pytest

from windtunnel_emulator.lambda_.faults import InitFailed, OutOfMemory, RuntimeExited, RuntimeFault, TimedOut

FAULTS = [
    (TimedOut(3), "Sandbox.Timedout", "Task timed out after 3.00 seconds", "Status: timeout"),
    (
        RuntimeExited(2),
        "Runtime.ExitError",
        "Runtime exited with error: exit status 2",
        "Status: error\tError Type: Runtime.ExitError",
    ),
    (
        RuntimeExited(-11),
        "Runtime.ExitError",
        "Runtime exited with error: signal: segmentation fault",
        "Status: error\tError Type: Runtime.ExitError",
    ),
    (
        OutOfMemory(),
        "Runtime.ExitError",
        "Runtime exited with error: signal: killed",
        "Status: error\tError Type: Runtime.OutOfMemory",
    ),
]


@pytest.mark.parametrize(("fault", "error_type", "reason", "status"), FAULTS)
def test_document_and_status(fault: RuntimeFault, error_type: str, reason: str, status: str) -> None:
    assert json.loads(fault.payload("id")) == {
        "errorType": error_type,
        "errorMessage": f"RequestId: id Error: {reason}",
    }
    assert fault.status == status


def test_lines_of_a_timeout() -> None:
    assert TimedOut(1).log_lines("id", "2026-01-01T00:00:00.000Z") == [
        "2026-01-01T00:00:00.000Z id Task timed out after 1.00 seconds",
        "",
    ]


def test_lines_of_an_exit() -> None:
    assert RuntimeExited(0).log_lines("id", "now") == [
        "RequestId: id Error: Runtime exited without providing a reason",
        "Runtime.ExitError",
    ]


def test_failed_init_is_reported_as_the_runtime_client_did() -> None:
    document = b'{"errorType": "Runtime.ImportModuleError", "errorMessage": "m"}'
    fault = InitFailed(document)
    assert fault.payload("id") == document
    assert fault.status == "Status: error\tError Type: Runtime.ImportModuleError"
    assert fault.log_lines("id", "now") == []


def test_failed_init_without_a_type() -> None:
    assert InitFailed(b"{}").status == "Status: error\tError Type: Runtime.Unknown"
