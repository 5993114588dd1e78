"""Which failed attempts are followed by another."""

from typing import Any

import pytest

from windtunnel_emulator.batch.retries import fits, is_retried

KILLED = {"container": {"exitCode": 137, "reason": "OutOfMemoryError: killed"}, "statusReason": "Task exited"}
NEVER_RAN = {"container": {"reason": "CannotPullContainerError: x"}, "statusReason": "Task failed to start"}

RETRY, EXIT = {"action": "RETRY"}, {"action": "exit"}


@pytest.mark.parametrize(
    ("conditions", "attempt", "expected"),
    [
        ([], KILLED, True),
        ([{**EXIT, "onExitCode": "137"}], KILLED, False),
        ([{**EXIT, "onExitCode": "13*"}], KILLED, False),
        ([{**EXIT, "onExitCode": "13"}], KILLED, True),
        ([{**RETRY, "onReason": "OutOfMemory*"}, {**EXIT, "onReason": "*"}], KILLED, True),
        ([{**RETRY, "onReason": "OutOfMemory*"}, {**EXIT, "onReason": "*"}], NEVER_RAN, False),
        ([{**EXIT, "onReason": "OutOfMemory*", "onExitCode": "1"}], KILLED, True),
        ([{**EXIT, "onStatusReason": "Task failed to start"}], NEVER_RAN, False),
        ([{**EXIT, "onExitCode": "1"}], NEVER_RAN, True),
    ],
)
def test_conditions(conditions: list[dict[str, Any]], attempt: dict[str, Any], expected: bool) -> None:
    assert is_retried({"attempts": 2, "evaluateOnExit": conditions}, [attempt]) is expected


def test_attempts_come_to_an_end() -> None:
    strategy = {"attempts": 2, "evaluateOnExit": [{**RETRY, "onReason": "*"}]}

    assert is_retried(strategy, [KILLED]) is True
    assert is_retried(strategy, [KILLED, KILLED]) is False


@pytest.mark.parametrize(("pattern", "expected"), [("abc", True), ("ab", False), ("ab*", True), ("*", True)])
def test_an_asterisk_stands_for_any_rest(pattern: str, expected: bool) -> None:
    assert fits("abc", pattern) is expected
