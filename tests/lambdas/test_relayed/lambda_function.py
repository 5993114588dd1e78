"""A function with the relay that ends in the ways a function can end."""

import logging
import os
import time
from typing import Any

from airflow_relay import relay

logger = logging.getLogger()
logger.setLevel("INFO")


@relay
def lambda_handler(event: dict[str, Any], context: Any) -> str:
    logger.info("before")
    match event["do"]:
        case "sleep over the timeout":
            time.sleep(30)
        case "end the process":
            # Long enough for the relay to have sent the line, also on a busy machine.
            time.sleep(2)
            os._exit(7)
    return "done"
