"""Waiting for something with a deadline and an explanation; nothing of this project sleeps blindly."""

import math
import time
from collections.abc import Callable

# Pytest shows the test's line that failed, and not the way through here.
__tracebackhide__ = True


class WaitTimeout(Exception):
    """What was awaited did not come; the message says what, how long, the last answer and where to look."""


def wait_until[T](
    what: str,
    probe: Callable[[], T | None],
    *,
    timeout: float,
    interval: float = 0.1,
    hint: str = "",
    retry_on: tuple[type[Exception], ...] = (),
    patience: float = math.inf,
) -> T:
    """Call ``probe`` until its answer is true, and return that answer.

    :param what: what is awaited, as it stands in the error: "the run of demo-dag to succeed".
    :param timeout: seconds; the probe is called at least once.
    :param interval: seconds between two calls.
    :param hint: what to look at when it does not come.
    :param retry_on: exceptions of the probe that mean "not yet"; every other one ends the wait at once.
    :param patience: seconds for which the probe may raise these without a break before the wait is given up.
    :raises WaitTimeout: with the last answer, or caused by the last exception.
    """
    start = answered = time.monotonic()
    while True:
        error: Exception | None = None
        answer: T | None = None
        try:
            answer = probe()
            answered = time.monotonic()
        except retry_on as raised:
            error = raised
        if answer:
            return answer
        now = time.monotonic()
        impatient = now - answered > patience
        if impatient or now - start + interval > timeout:
            last = f"error: {type(error).__name__}: {error}" if error else f"answer: {answer!r}"
            message = f"waited {patience if impatient else timeout:g} s for {what}. Last {last}"
            raise WaitTimeout(f"{message}. {hint}" if hint else message) from error
        time.sleep(interval)
