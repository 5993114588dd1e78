"""Health as Docker sees it: by a command, after so many failures in a row."""

from collections.abc import Iterator
from typing import Any

import pytest

from windtunnel.agent.health import HEALTHY, UNHEALTHY, UNKNOWN, Health, command_of
from windtunnel.waiting import wait_until


def watched(answers: Iterator[bool], **check: Any) -> tuple[Health, list[tuple[list[str], float]]]:
    """A container whose checks have these answers, and the checks that were made."""
    made: list[tuple[list[str], float]] = []

    def run(command: list[str], timeout: float) -> bool:
        made.append((command, timeout))
        answer = next(answers, None)
        if answer is None:
            health.end()
        return bool(answer)

    health = Health({"command": ["CMD", "it"], "interval": 0.01, **check}, run)
    health.begin()
    return health, made


@pytest.mark.parametrize(
    ("answers", "check", "expected"),
    [
        ([True], {}, HEALTHY),
        ([False, False], {}, UNKNOWN),
        ([False, False, False], {}, UNHEALTHY),
        ([False], {"retries": 1}, UNHEALTHY),
        ([False], {"retries": 1, "startPeriod": 60}, UNKNOWN),
        ([True, False], {"retries": 1, "startPeriod": 60}, UNHEALTHY),
        ([True, False, False, True, False, False], {}, HEALTHY),
        ([False, False, False, True], {}, HEALTHY),
    ],
)
def test_what_a_container_is_after_checks(answers: list[bool], check: dict[str, int], expected: str) -> None:
    statuses: list[str] = []

    def given() -> Iterator[bool]:
        yield from answers
        statuses.append(health.status)

    health, made = watched(given(), **check)
    wait_until("the last check", lambda: len(made) > len(answers), timeout=10)

    assert statuses == [expected]
    assert made[0] == (["it"], 5)


def test_a_command_may_be_for_a_shell_or_none() -> None:
    assert command_of({"command": ["CMD-SHELL", "a && b"]}) == ["/bin/sh", "-c", "a && b"]
    assert command_of({"command": ["CMD", "a", "b"]}) == ["a", "b"]
    assert command_of({"command": ["NONE"]}) == []
