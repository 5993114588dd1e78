"""Ships the output of a container to CloudWatch Logs, as the log driver ``awslogs`` does."""

import ctypes
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from windtunnel.agent.runtime import CannotStart

LOG = logging.getLogger(__name__)

# Of one call: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
MOST_EVENTS = 10_000
MOST_BYTES = 1_048_576
BYTES_PER_EVENT = 26
# The driver cuts longer lines: https://docs.docker.com/engine/logging/drivers/awslogs/
LONGEST_EVENT = 262_144 - BYTES_PER_EVENT

# Between two calls while there is something to ship, and before the next one after a failure, in seconds.
INTERVAL = 0.3
PAUSE = 1.0

# The lines of an event that is still being written come within so many seconds.
MULTILINE_PATIENCE = 1.0

# How much is read at a time, and how much that was shipped may be left on the disk, in bytes.
READ = 1 << 20
LEFT_ON_DISK = 8 << 20

# fallocate(2): give back the blocks of a part of a file, whose size remains: what is shipped is not needed.
_PUNCH_HOLE, _KEEP_SIZE = 0x02, 0x01

# How ECS begins the reason of a task whose log stream cannot be made.
FAILED = (
    "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: "
    "failed to create Cloudwatch log stream: {error} : exit status 1"
)


class Output:
    """The output of one container on its way to a log stream; a thread ships it."""

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
        noted: dict[str, Any] = json.loads(self._note.read_text()) if self._note.exists() else {"offset": 0}
        # Up to where the output was shipped, in bytes.
        self._offset: int = noted["offset"]
        # A call of which nobody knows whether it arrived: its end in the output and the time of its events.
        self._unsure: dict[str, int] | None = noted.get("unsure")
        self._freed = 0
        self._timestamp = 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def backlog(self) -> int:
        """How much there is to ship, in bytes."""
        return self._file.stat().st_size - self._offset if self._file.exists() else 0

    def open(self) -> None:
        """Make the log stream.

        :raises CannotStart: if the log group is not there, or CloudWatch refuses.
        """
        try:
            self._create()
        except (BotoCoreError, ClientError) as error:
            raise CannotStart(FAILED.format(error=error)) from error

    def begin(self) -> None:
        """Ship from now on."""
        if not self._thread:
            self._thread = threading.Thread(
                target=self._run, name=f"output of {self._file.parent}", daemon=True
            )
            self._thread.start()

    def finish(self, timeout: float) -> bool:
        """Ship what is left when the container has ended.

        :param timeout: how long that may take, in seconds.
        :returns: whether all has arrived.
        """
        self._over.set()
        if self._thread:
            self._thread.join(timeout)
            return not self._thread.is_alive()
        return True

    def _run(self) -> None:
        while True:
            is_over = self._over.is_set()
            try:
                arrived = self.ship(to_the_end=is_over)
            except OSError as error:
                # The disk is full, or the container was removed in this moment.
                LOG.info("%s: %s", self._logs["stream"], error)
                arrived = False
            if is_over and arrived:
                return
            if arrived or not is_over:
                self._over.wait(INTERVAL if arrived else PAUSE)
            else:
                time.sleep(PAUSE)

    def ship(self, to_the_end: bool = False) -> bool:
        """Ship what there is, whole lines only; return False if CloudWatch does not take it.

        :param to_the_end: the container has ended: what follows the last line break, too.
        """
        if not self._file.exists():
            return True
        while True:
            if not self._settle():
                return False
            with self._file.open("rb") as file:
                file.seek(self._offset)
                data = file.read(READ)
            is_end = to_the_end and len(data) < READ
            events, used = self._events(data, is_end, is_waiting=not to_the_end and len(data) < READ)
            if not used:
                return True
            if events:
                self._put(events, self._offset + used)
            else:
                self._advance(self._offset + used)

    def _create(self) -> None:
        named = {"logGroupName": self._logs["group"]}
        if self._logs["create_group"]:
            self._tolerant(self._client.create_log_group, **named)
        self._tolerant(self._client.create_log_stream, **named, logStreamName=self._logs["stream"])

    @staticmethod
    def _tolerant(create: Callable[..., Any], **named: str) -> None:
        try:
            create(**named)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                raise

    def _events(self, data: bytes, is_end: bool, is_waiting: bool) -> tuple[list[str], int]:
        """Return as many events as one call takes, and how many bytes of the output they are.

        :param is_end: nothing comes after these bytes.
        :param is_waiting: more may come soon.
        """
        events: list[str] = []
        used = total = last_begin = 0
        while used < len(data):
            line, end = _next_line(data, used, is_end)
            if line is None:
                break
            pieces = _pieces(line)
            size = sum(len(piece.encode()) + BYTES_PER_EVENT for piece in pieces)
            if events and (total + size > MOST_BYTES or len(events) + len(pieces) > MOST_EVENTS):
                return events, used
            if pieces and self._continues(events, pieces):
                events[-1] += f"\n{pieces[0]}"
            elif pieces:
                last_begin = used
                events += pieces
            total += size
            used = end
        if self._multiline and is_waiting and self._is_being_written():
            return events[:-1], last_begin
        return events, used

    def _continues(self, events: list[str], pieces: list[str]) -> bool:
        """Whether a line belongs to the event before it."""
        if not self._multiline or not events or self._multiline.search(pieces[0]):
            return False
        return len(pieces) == 1 and len((events[-1] + pieces[0]).encode()) < LONGEST_EVENT

    def _is_being_written(self) -> bool:
        return time.time() - self._file.stat().st_mtime < MULTILINE_PATIENCE

    def _put(self, events: list[str], end: int) -> None:
        # Each call has a time of its own, by which it is found again.
        self._timestamp = max(round(time.time() * 1000), self._timestamp + 1)
        self._unsure = {"end": end, "timestamp": self._timestamp}
        self._write_note()
        try:
            self._client.put_log_events(
                logGroupName=self._logs["group"],
                logStreamName=self._logs["stream"],
                logEvents=[{"timestamp": self._timestamp, "message": message} for message in events],
            )
        except ClientError as error:
            if error.response["Error"]["Code"].startswith("InvalidParameter"):
                LOG.error("%s: CloudWatch refuses %d lines: %s", self._logs["stream"], len(events), error)
                self._advance(end)
            return
        except BotoCoreError:
            return
        self._advance(end)

    def _settle(self) -> bool:
        """Find out whether the last call arrived, if nobody knows; return False if that cannot be done."""
        if not self._unsure:
            return True
        try:
            found = self._client.get_log_events(
                logGroupName=self._logs["group"],
                logStreamName=self._logs["stream"],
                limit=1,
                startFromHead=False,
            )["events"]
            if found and found[-1]["timestamp"] == self._unsure["timestamp"]:
                self._advance(self._unsure["end"])
            self._unsure = None
        except ClientError as error:
            # A new LocalStack has forgotten the stream.
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                self._logs = {**self._logs, "create_group": True}
                return self._create_again()
            return False
        except BotoCoreError:
            return False
        return True

    def _create_again(self) -> bool:
        try:
            self._create()
        except (BotoCoreError, ClientError):
            return False
        self._unsure = None
        return True

    def _advance(self, offset: int) -> None:
        self._offset, self._unsure = offset, None
        self._write_note()
        if offset - self._freed > LEFT_ON_DISK:
            with self._file.open("rb+") as file:
                # It fails where files have no holes; then the disk has what the container has written.
                ctypes.CDLL(None).fallocate64(
                    file.fileno(), _PUNCH_HOLE | _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(offset)
                )
            self._freed = offset

    def _write_note(self) -> None:
        new = self._note.with_suffix(".new")
        new.write_text(json.dumps({"offset": self._offset, "unsure": self._unsure}))
        os.replace(new, self._note)


def _next_line(data: bytes, begin: int, is_end: bool) -> tuple[str | None, int]:
    """Return a line, or as much of it as an event holds, and where what follows begins.

    The line is None if it is not whole yet.
    """
    newline = data.find(b"\n", begin)
    end = newline if newline >= 0 else len(data)
    if newline < 0 and end - begin < LONGEST_EVENT and not is_end:
        return None, begin
    if end - begin > LONGEST_EVENT:
        end = begin + LONGEST_EVENT
        # No character is cut.
        while data[end] & 0xC0 == 0x80 and end > begin + LONGEST_EVENT - 4:
            end -= 1
    line = data[begin:end].removesuffix(b"\r").decode(errors="replace")
    return line, end + (end == newline)


def _pieces(line: str) -> list[str]:
    """Return a line as events; what replaces bytes that are no text takes more room than these."""
    if not line:
        return []  # CloudWatch takes no event without text
    if len(line.encode()) <= LONGEST_EVENT:
        return [line]
    step = LONGEST_EVENT // 4
    return [line[begin : begin + step] for begin in range(0, len(line), step)]
