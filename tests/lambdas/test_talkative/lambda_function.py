"""A function with much to say, of which it remembers what that was."""

import hashlib
import logging
import time
import traceback
from typing import Any

from airflow_relay import relay

WIDE = "Grüße, 世界 🌍"

logger = logging.getLogger()
logger.setLevel("INFO")


@relay
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Log ``lines`` lines over ``seconds``; every ``traceback_every``-th with a traceback.

    :return: ``lines`` and the ``sha256`` of all texts, each with a line break behind it.
    """
    said = hashlib.sha256()
    for number in range(event["lines"]):
        text = f"{event.get('name', '')} line {number} {WIDE if number % 10 == 0 else ''}"
        if event.get("traceback_every") and number % event["traceback_every"] == 0:
            try:
                raise ValueError(text)
            except ValueError:
                logger.exception(text)
                text = f"{text}\n{traceback.format_exc().rstrip()}"
        else:
            logger.info(text)
        said.update(f"{text}\n".encode())
        time.sleep(event.get("seconds", 0) / event["lines"])
    return {"lines": event["lines"], "sha256": said.hexdigest()}
