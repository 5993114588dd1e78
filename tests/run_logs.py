"""The log of one try of one task, read from each place that has it."""

import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from airflow_relay import contract, naming
from tests.support import BUCKET
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.airflow_api.task_log import TaskLog
from windtunnel.testing.runs import log_key
from windtunnel.waiting import wait_until

# How long Airflow may take to upload a log after the task has its state, in seconds.
UPLOAD_TIMEOUT = 15.0

# A line of a container that counts; the provider's operators put the time before it.
NUMBERED = re.compile(r"(?:^|\] )line (\d+)$")


class Line(NamedTuple):
    """A line of the function, wherever it was read."""

    level: str
    text: str
    milliseconds: int


@dataclass(frozen=True)
class Try:
    """One try of one task."""

    dag_id: str
    run_id: str
    task_id: str
    number: int = 1
    map_index: int = -1

    @property
    def stream_key(self) -> str:
        """The part of the log stream's name that says whose it is."""
        return naming.idempotency_key(self.dag_id, self.run_id, self.task_id, self.map_index, self.number)

    @property
    def path(self) -> str:
        """Below Airflow's log folder and in the bucket, by Airflow's own template."""
        return log_key(self.dag_id, self.run_id, self.task_id, self.map_index, self.number)


def streams(logs_client: Any, of: Try, function: str) -> list[str]:
    """The names of this try's streams."""
    pages = logs_client.get_paginator("describe_log_streams").paginate(
        logGroupName=f"/airflow/lambda/{function}"
    )
    names = [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
    return [name for name in names if f"]{of.stream_key}/" in name]


def events(logs_client: Any, stream: str, function: str) -> list[dict[str, Any]]:
    """Everything in a stream of relayed lines."""
    return all_events(logs_client, f"/airflow/lambda/{function}", stream)


def all_events(logs_client: Any, group: str, stream: str) -> list[dict[str, Any]]:
    """Everything in a stream, which may be several pages."""
    found: list[dict[str, Any]] = []
    arguments = {"logGroupName": group, "logStreamName": stream}
    token: dict[str, str] = {}
    while True:
        page = logs_client.get_log_events(**arguments, **token, startFromHead=True)
        found += page["events"]
        if page["nextForwardToken"] == token.get("nextToken"):
            return found
        token = {"nextToken": page["nextForwardToken"]}


def in_cloudwatch(logs_client: Any, of: Try, function: str, *, repeated: bool = False) -> list[Line]:
    """The lines in this try's one stream: each event is there once and in order, the end marker last.

    :param repeated: an event may be there again, word by word: a function that got no answer in time sends it
        once more.
    """
    (stream,) = streams(logs_client, of, function)
    found = events(logs_client, stream, function)
    if repeated:
        found = list({event["message"]: event for event in reversed(found)}.values())[::-1]
    *lines, end = [contract.decode(event["message"]) for event in found]
    assert isinstance(end, contract.EndMarker), f"no end marker, but {found[-1:]}"
    assert (end.events, end.rejected, end.lost) == (len(lines), 0, 0)
    decoded = []
    for number, (line, event) in enumerate(zip(lines, found, strict=False), 1):
        assert isinstance(line, contract.Event), event
        assert line.number == number, event
        decoded.append(Line(logging.getLevelName(line.level).lower(), line.text, event["timestamp"]))
    return decoded


def in_api(airflow: AirflowClient, of: Try, function: str) -> list[Line]:
    """The function's lines in the task log, as the web page shows them."""
    run = airflow.run(of.dag_id, of.run_id)
    records = airflow.task_log(run, of.task_id, of.number, of.map_index).records
    return [
        Line(record.level, record.message, _milliseconds(record.time))
        for record in records
        if record.logger == f"lambda.{function}" and record.time
    ]


def s3_object(s3_client: Any, of: Try) -> dict[str, Any]:
    """This try's object in the bucket. Airflow uploads it after the task has its state, so it is waited for.

    :return: S3's answer, the content as bytes under ``Body``.
    """

    def get() -> dict[str, Any]:
        answer: dict[str, Any] = s3_client.get_object(Bucket=BUCKET, Key=of.path)
        return answer | {"Body": answer["Body"].read()}

    return wait_until(
        f"s3://{BUCKET}/{of.path}",
        get,
        timeout=UPLOAD_TIMEOUT,
        hint="See the scheduler's log.",
        retry_on=(s3_client.exceptions.NoSuchKey,),
    )


def in_s3(body: bytes, function: str) -> list[Line]:
    """The function's lines in a log object: one JSON object a line."""
    records = [json.loads(line) for line in body.decode().splitlines()]
    return [
        Line(record["level"], record["event"], _milliseconds(datetime.fromisoformat(record["timestamp"])))
        for record in records
        if record.get("logger") == f"lambda.{function}"
    ]


def deferred_in_s3(s3_client: Any, of: Try, function: str) -> list[Line]:
    """The function's lines of a task that was deferred: the triggerer has an object of its own."""

    def triggerers() -> list[str]:
        listing = s3_client.list_objects_v2(Bucket=BUCKET, Prefix=f"{of.path}.trigger.")
        return [found["Key"] for found in listing.get("Contents", [])]

    what = f"s3://{BUCKET}/{of.path}.trigger.*"
    keys = wait_until(what, triggerers, timeout=UPLOAD_TIMEOUT, hint="See the triggerer's log.")
    bodies = [s3_client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in [*keys, of.path]]
    return [line for body in bodies for line in in_s3(body, function)]


def invocations(logs_client: Any, function: str) -> int:
    """How often the function was started, by its own log."""
    group = f"/aws/lambda/{function}"
    pages = logs_client.get_paginator("describe_log_streams").paginate(logGroupName=group)
    try:
        streams = [stream for page in pages for stream in page["logStreams"]]
    except logs_client.exceptions.ResourceNotFoundException:
        return 0
    messages = [
        event["message"]
        for stream in streams
        for event in all_events(logs_client, group, stream["logStreamName"])
    ]
    return sum(message.startswith("START RequestId: ") for message in messages)


def numbered(messages: Iterable[str]) -> list[int]:
    """Return the numbers of those messages that are, or end with, ``line NUMBER``."""
    found = (NUMBERED.search(message) for message in messages)
    return [int(match[1]) for match in found if match]


def raised(log: TaskLog) -> str:
    """Class and message of the exception that ended the task."""
    (detail,) = [record.fields["error_detail"] for record in log.records if record.fields.get("error_detail")]
    return f"{detail[0]['exc_type']}: {detail[0]['exc_value']}"


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)
