"""Whether Batch tries a failed attempt again.

https://docs.aws.amazon.com/batch/latest/userguide/job_retries.html
"""

from collections.abc import Mapping
from typing import Any

MOST_ATTEMPTS = 10
MOST_CONDITIONS = 5


def is_retried(strategy: Mapping[str, Any], attempts: list[dict[str, Any]]) -> bool:
    """Return whether there is another attempt after the last one.

    :param strategy: ``attempts`` and ``evaluateOnExit``: the first condition that matches decides, and if
        none does it is tried again.
    :param attempts: as ``DescribeJobs`` has them.
    """
    if len(attempts) >= strategy["attempts"]:
        return False
    last = attempts[-1]
    for condition in strategy.get("evaluateOnExit", ()):
        if _matches(condition, last):
            return str(condition["action"]).upper() == "RETRY"
    return True


def _matches(condition: Mapping[str, Any], attempt: Mapping[str, Any]) -> bool:
    code = attempt["container"].get("exitCode")
    found = {
        "onExitCode": "" if code is None else str(code),
        "onReason": attempt["container"].get("reason") or "",
        "onStatusReason": attempt.get("statusReason") or "",
    }
    return all(fits(text, condition[name]) for name, text in found.items() if condition.get(name))


def fits(text: str, pattern: str) -> bool:
    """Compare with a pattern that may end with an asterisk, which stands for any rest."""
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
