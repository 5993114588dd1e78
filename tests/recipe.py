"""The function of the published recipe, which has its log shown in a task by a decorator of its own.

It runs in Lambda: each test of it deploys this file. The event names the log stream, in ``group_name`` and
``stream_name``. The decorator makes the stream, and deletes one that is there; at the call's end it puts into
it what the root logger was given, each line an event, with times of whole seconds. An exception becomes a
result: its text.
"""

import functools
import io
import logging
import time
import traceback
from collections.abc import Callable
from datetime import datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

TIME = "%Y-%m-%d %H:%M:%S"

said = io.StringIO()
in_memory = logging.StreamHandler(said)
in_memory.setFormatter(logging.Formatter("%(levelname)-8s %(asctime)-s %(name)-12s %(message)s"))
logger = logging.getLogger()


@functools.cache
def logs() -> Any:
    return boto3.client("logs")


class Recipe:
    """The decorator."""

    def __init__(self, handler: Callable[[Any, Any], Any]) -> None:
        functools.update_wrapper(self, handler)
        self.handler = handler

    def __call__(self, event: Any, context: Any) -> Any:
        stream = {"logGroupName": event["group_name"], "logStreamName": event["stream_name"]}
        # Here, and not when the module is loaded, for the tests that import it.
        logger.setLevel(logging.INFO)
        if in_memory not in logger.handlers:
            logger.addHandler(in_memory)
        try:
            said.seek(0)
            said.truncate(0)
            self.make(stream)
            logger.info("Start Request")
            result = self.handler(event, context)
            logger.info("End Request")
        except Exception as error:
            logger.error(str(error))
            logger.error(traceback.format_exc())
            result = str(error)
        logger.info(logs().put_log_events(**stream, logEvents=self.events()))
        return result

    def make(self, stream: dict[str, str]) -> None:
        if not logs().describe_log_groups(logGroupNamePrefix=stream["logGroupName"])["logGroups"]:
            raise RuntimeError("no log group")
        try:
            logs().delete_log_stream(**stream)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
        logs().create_log_stream(**stream)
        logger.info("log stream created")

    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for line in filter(None, said.getvalue().split("\n")):
            try:
                moment = datetime.strptime(line[9:28], TIME).astimezone()
            except ValueError:
                moment = datetime.now().astimezone()
            found.append({"timestamp": int(moment.timestamp()) * 1000, "message": line})
        return found


def work(event: dict[str, Any], context: Any) -> str:
    """Say ``lines`` lines; fail before the line ``fails_at``."""
    logger.setLevel(logging.INFO)
    for number in range(event["lines"]):
        if number == event.get("fails_at"):
            raise LookupError(f"fails at {number}")
        logger.info("current run %d", number)
        time.sleep(event.get("seconds", 0))
    return "all said"
