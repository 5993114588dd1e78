"""Ships the output of a container to CloudWatch Logs, as the log driver ``awslogs`` does."""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from windtunnel.agent.runtime import CannotStart

# Of one call: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
MOST_EVENTS = 10_000
MOST_BYTES = 1_048_576
BYTES_PER_EVENT = 26
# The driver cuts longer lines: https://docs.docker.com/engine/logging/drivers/awslogs/
LONGEST_EVENT = 262_144 - BYTES_PER_EVENT

# Between two calls while there is something to ship, in seconds.
INTERVAL = 0.3

# How much is read at a time, in bytes.
READ = 1 << 20

# How ECS begins the reason of a task whose log stream cannot be made.
FAILED = (
    "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: "
    "failed to create Cloudwatch log stream: {error} : exit status 1"
)


class Output:
    """The output of one container on its way to a log stream."""

    def __init__(self, folder: Path, logs: Mapping[str, Any], client_of: Callable[[str], Any]) -> None:
        """Take up what an earlier agent has shipped.

        :param folder: the container's.
        :param logs: ``group``, ``stream``, ``region``, ``create_group``, ``multiline_pattern``.
        :param client_of: returns boto3's client for CloudWatch Logs of a region.
        """
        self._file = folder / "output"
        self._note = folder / "shipped"
        self._logs = logs
        self._client = client_of(logs["region"])
        self._multiline = re.compile(logs["multiline_pattern"]) if logs.get("multiline_pattern") else None
        # Up to where the output was shipped, in bytes.
        self._offset = int(self._note.read_text()) if self._note.exists() else 0
        self._last_call = 0.0

    def open(self) -> None:
        """Make the log stream.

        :raises CannotStart: if the log group is not there, or CloudWatch refuses.
        """
        named = {"logGroupName": self._logs["group"]}
        try:
            if self._logs["create_group"]:
                self._tolerant(self._client.create_log_group, **named)
            self._tolerant(self._client.create_log_stream, **named, logStreamName=self._logs["stream"])
        except (BotoCoreError, ClientError) as error:
            raise CannotStart(FAILED.format(error=error)) from error

    @staticmethod
    def _tolerant(create: Callable[..., Any], **named: str) -> None:
        try:
            create(**named)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                raise

    def ship(self, to_the_end: bool = False) -> bool:
        """Ship what there is, whole lines only; return whether there is nothing left to ship.

        :param to_the_end: the container has ended: what follows the last line break, too.
        """
        if not self._file.exists():
            return True
        if not to_the_end and time.monotonic() - self._last_call < INTERVAL:
            return False
        while True:
            with self._file.open("rb") as file:
                file.seek(self._offset)
                data = file.read(READ)
            if not data:
                return True
            # A line may also be longer than what is read at a time.
            is_whole = len(data) < READ and to_the_end or len(data) == READ and b"\n" not in data
            events, used = self._events(data, is_whole)
            if not used or (events and not self._put(events)):
                return False
            self._offset += used
            self._note.write_text(str(self._offset))

    def _events(self, data: bytes, is_whole: bool) -> tuple[list[dict[str, Any]], int]:
        """Return as many events as one call takes, and how many bytes of the output they are."""
        now = round(time.time() * 1000)
        events: list[dict[str, Any]] = []
        used = total = 0
        for line in data.split(b"\n"):
            is_last = used + len(line) == len(data)
            if is_last and not is_whole:
                break
            pieces = _pieces(line.removesuffix(b"\r"))
            size = sum(len(piece.encode()) + BYTES_PER_EVENT for piece in pieces)
            if events and (total + size > MOST_BYTES or len(events) + len(pieces) > MOST_EVENTS):
                break
            # An empty line is no event: CloudWatch takes none without text.
            if self._multiline and events and pieces and not self._multiline.search(pieces[0]):
                events[-1]["message"] += "".join(f"\n{piece}" for piece in pieces)
            else:
                events += [{"timestamp": now, "message": piece} for piece in pieces]
            used += len(line) + (not is_last)
            total += size
        return events, used

    def _put(self, events: list[dict[str, Any]]) -> bool:
        self._last_call = time.monotonic()
        named = {"logGroupName": self._logs["group"], "logStreamName": self._logs["stream"]}
        try:
            self._client.put_log_events(**named, logEvents=events)
        except ClientError as error:
            # A new LocalStack has forgotten the stream.
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                try:
                    self._logs = {**self._logs, "create_group": True}
                    self.open()
                except CannotStart:
                    return False
            return False
        except BotoCoreError:
            return False
        return True


def _pieces(line: bytes) -> list[str]:
    return [
        line[begin : begin + LONGEST_EVENT].decode(errors="replace")
        for begin in range(0, len(line), LONGEST_EVENT)
    ]
