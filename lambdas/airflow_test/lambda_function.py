"""The demo function: counts, logs a line at each step, and fails about every second time."""

import logging
import os
import random
import time
from typing import Any

from airflow_relay import relay

DEFAULT_MAX_LEN = 6
DEFAULT_INTERVAL_SECONDS = 1

logger = logging.getLogger()
logger.setLevel(os.environ.get("LOG_LEVEL", "INFO"))


class DemoFailure(RuntimeError):
    """The failure this function is here to show."""


@relay
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Count from 0 up to ``max_len``, one log line at each step.

    :param event: ``max_len`` (default 6), how many steps; ``interval`` (default 1), seconds after each step;
        ``fails_at``, the step to fail at, ``null`` for never. Without ``fails_at`` the step is drawn from
        ``0..2*max_len``, so about half of the calls succeed.
    :return: ``{"lines": <steps done>}``.
    :raises ValueError: for any other event; the message names the key.
    :raises DemoFailure: at the step to fail at.
    """
    if not isinstance(event, dict):
        raise ValueError(f"the event must be an object, not {event!r:.100}")
    max_len = _whole_number(event, "max_len", DEFAULT_MAX_LEN)
    interval = _seconds(event, "interval", DEFAULT_INTERVAL_SECONDS)
    if "fails_at" not in event:
        fails_at = random.randint(0, 2 * max_len)  # noqa: S311 - a demo, not a secret
    elif event["fails_at"] is None:
        fails_at = max_len
    else:
        fails_at = _whole_number(event, "fails_at", 0)

    for step in range(max_len):
        if step == fails_at:
            raise DemoFailure(f"failed at step {step} of {max_len}, as drawn or asked for")
        logger.info("step %d of %d", step, max_len)
        time.sleep(interval)
    return {"lines": max_len}


def _whole_number(event: dict[str, Any], key: str, default: int) -> int:
    value = event.get(key, default)
    # A bool is an int to Python, not to whoever wrote the event.
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{key!r} must be a whole number, 0 or more, not {value!r:.100}")
    return value


def _seconds(event: dict[str, Any], key: str, default: float) -> float:
    value = event.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{key!r} must be a number of seconds, 0 or more, not {value!r:.100}")
    return value
