"""Waiting with a deadline and an explanation, so that nothing of this project sleeps blindly."""

import math
import time
from collections.abc import Callable

# Pytest shows the test's line that failed, and not the way through here.
__tracebackhide__ = True


class WaitTimeout(Exception):
    """The wait was in vain; the message says for what, how long, the last answer and where to look."""


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

    :param what: what the error says it waited for: "the run of demo-dag to succeed".
    :param timeout: seconds; the probe is called at least once.
    :param interval: seconds between two calls.
    :param hint: what to look at after a wait in vain.
    :param retry_on: exceptions of the probe that mean "not yet"; every other one ends the wait at once.
    :param patience: the wait also ends if the probe has only raised these for so many seconds.
    :raises WaitTimeout: with the last answer, or caused by the last exception.
    """
    start = answered = time.monotonic()
    while True:
        error: Exception | None = None
        try:
            if answer := probe():
                return answer
            answered = time.monotonic()
            last = f"answer: {answer!r}"
        except retry_on as raised:
            error = raised
            last = f"error: {type(error).__name__}: {error}"
        now = time.monotonic()
        impatient = now - answered > patience
        if impatient or now - start + interval > timeout:
            message = f"waited {patience if impatient else timeout:g} s for {what}. Last {last}"
            raise WaitTimeout(f"{message}. {hint}" if hint else message) from error
        time.sleep(interval)
