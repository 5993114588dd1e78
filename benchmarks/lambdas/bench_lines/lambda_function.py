"""A function that logs lines at a steady pace, as its event asks: ``{"lines": 20, "interval": 0.05}``."""

import logging
import time
from typing import Any

from airflow_relay import relay

logger = logging.getLogger()
logger.setLevel("INFO")


@relay
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, float]:
    """Log, and return how many seconds that took in here."""
    start = time.perf_counter()
    for number in range(event["lines"]):
        logger.info("line %d of %d", number + 1, event["lines"])
        if event["interval"]:
            time.sleep(event["interval"])
    return {"seconds": time.perf_counter() - start}
