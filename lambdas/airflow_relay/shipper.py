"""Sending the events of one call to CloudWatch while the call goes on."""

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypedDict

from airflow_relay import contract

# How long a line may wait before it is sent. A person who waits at a task log does not notice it, and a
# talkative function costs two or three requests a second.
FLUSH_SECONDS = 0.4
# From this long before the function's deadline lines are sent almost at once: Lambda kills without notice.
DEADLINE_MARGIN_SECONDS = 1.0
DEADLINE_FLUSH_SECONDS = 0.05
# How long a log service that does not answer may hold up the end of a call, and how much of the function's
# time must remain after that.
CLOSE_SECONDS = 5.0
CLOSE_RESERVE_SECONDS = 0.2
# A log service that is down must not fill the function's memory (128 MB at least).
MAX_PENDING_BYTES = 32 * 1024 * 1024
# A record this far from the call's own time counts as clamped. Threads overtake one another by less.
CLAMP_TOLERANCE_MS = 1_000
# Pause before a failed request is tried again.
RETRY_SECONDS = 0.2
# What a decorator that makes the stream itself says while it does: its AWS client logs, at level INFO.
AWS_SDK = ("boto3", "botocore", "urllib3")

_NOT_FOUND = "ResourceNotFoundException"
# A request refused for one of these reasons may be accepted later; one refused for another never will be.
_PASSING_CODES = frozenset({_NOT_FOUND, "ThrottlingException", "OperationAbortedException"})
_SERVER_ERROR_STATUS = 500
_WRAPPED = (
    "@relay is not the outermost decorator: another one has made this log stream before. If Lambda delivers "
    "the event again, the handler runs again. Remove the other decorator, or put @relay outside of it"
)


class LogEvent(TypedDict):
    """One event of PutLogEvents: time in milliseconds since the epoch, and text."""

    timestamp: int
    message: str


def event_bytes(event: LogEvent) -> int:
    """Return an event's size as CloudWatch counts it."""
    return len(event["message"].encode()) + contract.EVENT_OVERHEAD_BYTES


def valid_batches(events: Sequence[LogEvent]) -> Iterator[list[LogEvent]]:
    """Divide events in chronological order into batches that PutLogEvents accepts."""
    batch: list[LogEvent] = []
    size = 0
    for event in events:
        added = event_bytes(event)
        if batch and (
            len(batch) == contract.MAX_BATCH_EVENTS
            or size + added > contract.MAX_BATCH_BYTES
            or event["timestamp"] - batch[0]["timestamp"] >= contract.MAX_BATCH_SPAN_MS
        ):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += added
    if batch:
        yield batch


def rejected_count(info: dict[str, int], sent: int) -> int:
    """Count the events CloudWatch refused of a batch it otherwise accepted.

    :param info: ``rejectedLogEventsInfo``: the index of the first event too far in the future, and those
        behind the last one that is too old or past the group's retention.
    """
    too_new = sent - info["tooNewLogEventStartIndex"] if "tooNewLogEventStartIndex" in info else 0
    too_old = max(info.get("tooOldLogEventEndIndex", 0), info.get("expiredLogEventEndIndex", 0))
    return min(sent, too_new + too_old)


@functools.cache
def logs_client() -> Any:
    """Make the CloudWatch Logs client, once for each execution environment."""
    # Imported in the sending thread, so that it does not lengthen the function's cold start. boto3's resource
    # layer would cost another 40 ms.
    from botocore.config import Config
    from botocore.session import get_session

    # The shipper itself tries again.
    config = Config(connect_timeout=1, read_timeout=3, retries={"total_max_attempts": 1})
    return get_session().create_client("logs", config=config)


class Shipper:
    """Collects the lines of one call and sends them from a thread, which ends with the call.

    :param destination: the stream to write. The shipper makes it, and its group if that is missing.
    :param remaining_seconds: returns how long the function may still run; None if nobody knows.
    :param flush_seconds: how long a line may wait before it is sent.
    :param is_nested: the handler has another decorator, which may make the same stream: ours then makes it
        with the first line that is not an AWS client's, and leaves a stream for a caller without end
        markers to whoever has made it.
    :param client: makes the CloudWatch Logs client; called in the sending thread.
    """

    def __init__(
        self,
        destination: contract.Destination,
        remaining_seconds: Callable[[], float | None],
        flush_seconds: float = FLUSH_SECONDS,
        is_nested: bool = False,
        client: Callable[[], Any] = logs_client,
    ) -> None:
        """Prepare; :meth:`start` begins."""
        self.destination = destination
        self.error = ""
        """Why the latest request failed; empty after one that did not."""
        self.delivered = False
        """Whether the end marker is in the stream, or nothing was to be sent."""
        self.is_left_to_others = False
        """Whether nothing is sent, as another decorator has made the stream for the same lines."""
        self._names = {"logGroupName": destination.group_name, "logStreamName": destination.stream_name}
        self._remaining_seconds = remaining_seconds
        self._flush_seconds = flush_seconds
        self._is_nested = is_nested
        self._may_open = not is_nested
        self._client = client
        self._changed = threading.Condition()  # reentrant: a signal handler may log while the lock is held
        self._given_up = threading.Event()
        self._pending: list[LogEvent] = []
        self._pending_bytes = 0
        self._marker: contract.EndMarker | None = None
        self._numbered = self._rejected = self._lost = self._clamped = 0
        self._last_ms = _now_ms()
        self._stream_is_open = self._create_is_refused = False
        self.thread = threading.Thread(target=self._run, name="airflow-relay", daemon=True)

    def claim(self, *, is_wrapped: bool = False) -> bool:
        """Make the stream, in the calling thread; False if another delivery of the same event has made it.

        :param is_wrapped: a decorator around ours may have made it for this delivery: it is empty then.
        """
        try:
            if self._create_stream():
                return True
            if not is_wrapped or self._holds_events():
                return False
            self.add(logging.WARNING, _WRAPPED, time.time())
            return True
        except Exception as error:  # rather run the handler twice than never
            self.error = f"{type(error).__name__}: {error}"
            return True

    def start(self) -> None:
        """Begin to send."""
        self.thread.start()

    def add(self, level: int, text: str, created: float, logger: str = "") -> None:
        """Take a line; any thread may call this. After :meth:`close` it does nothing.

        The time sent lies within the call and is never before that of the line ahead, whatever the clock did:
        CloudWatch refuses events out of order, too old or in the future.

        :param level: a level of the ``logging`` module.
        :param created: when the line was logged, in seconds since the epoch.
        :param logger: the logger's name.
        """
        with self._changed:
            if self._marker is not None or self.is_left_to_others:
                return
            self._may_open |= logger.partition(".")[0] not in AWS_SDK
            for message in contract.encode_line(level, text, self._numbered + 1):
                self._numbered += 1
                event = LogEvent(timestamp=self._valid_time(created), message=message)
                size = event_bytes(event)
                if self._pending_bytes + size > MAX_PENDING_BYTES:
                    self._lost += 1
                else:
                    self._pending.append(event)
                    self._pending_bytes += size
            if self._is_due():
                self._changed.notify()

    def close(self, status: str, request_id: str = "", error: str = "", **result: Any) -> contract.EndMarker:
        """Send what is left, then the end marker, and return it, within CLOSE_SECONDS and the deadline.

        :param status: ``contract.SUCCEEDED`` or ``contract.FAILED``.
        :param error: what the handler raised, in one line.
        :param result: from :func:`contract.result_fields`, if the caller wants it.
        """
        with self._changed:
            fields = {"request_id": request_id, "error": error, "number": self._numbered + 1, **result}
            self._marker = contract.EndMarker(status, self._numbered, **fields)
            self._changed.notify()
        remaining = self._remaining_seconds()
        limit = CLOSE_SECONDS if remaining is None else min(CLOSE_SECONDS, remaining - CLOSE_RESERVE_SECONDS)
        self.thread.join(timeout=max(limit, 0))
        self._given_up.set()
        with self._changed:
            return self._final_marker()

    def complaint(self) -> str:
        """Say what did not reach the stream, once the call is closed; empty if everything did."""
        marker = self._final_marker()
        missing = marker.lost + marker.rejected
        if self.delivered and not missing:
            return ""
        return (
            f"{missing} of {marker.events} log events are not in CloudWatch log stream "
            f"{self.destination.group_name} {self.destination.stream_name} "
            f"({marker.rejected} rejected; latest error: {self.error or 'none'}). "
            "All of them are in the function's own log"
        )

    def _valid_time(self, created: float) -> int:
        wanted = int(created * 1000)
        valid = max(self._last_ms, min(wanted, _now_ms()))
        self._clamped += abs(valid - wanted) > CLAMP_TOLERANCE_MS
        self._last_ms = valid
        return valid

    def _final_marker(self) -> contract.EndMarker:
        if self._marker is None:
            raise RuntimeError("the end marker exists only once the call has ended")
        lost = self._lost + len(self._pending)
        return self._marker._replace(rejected=self._rejected, lost=lost, clamped=self._clamped)

    def _run(self) -> None:
        if not self._is_nested:
            self._open_stream()
        while not self._given_up.is_set():
            with self._changed:
                self._changed.wait_for(self._is_due, timeout=self._wait_seconds())
                ending = self._marker is not None
                batches = list(valid_batches(self._pending)) if self._may_open or ending else []
            if not (ending or batches):
                continue
            if not (self._open_stream() and all(map(self._send, batches))):
                self._given_up.wait(RETRY_SECONDS)
            elif ending and self._send_end():
                return

    def _is_due(self) -> bool:
        return self._marker is not None or self._pending_bytes >= contract.MAX_BATCH_BYTES

    def _wait_seconds(self) -> float:
        remaining = self._remaining_seconds()
        if remaining is None:
            return self._flush_seconds
        return max(DEADLINE_FLUSH_SECONDS, min(self._flush_seconds, remaining - DEADLINE_MARGIN_SECONDS))

    def _open_stream(self) -> bool:
        """Make the stream unless that is done; False if it is worth trying again."""
        if not self._stream_is_open:
            try:
                made = self._create_stream()
                if self._is_nested and not (made or self.destination.is_marked or self.error):
                    self._leave_to_others()
            except Exception as error:
                # If we may not make streams, the stream may be there: putting events will tell.
                self._stream_is_open = self._create_is_refused = not self._is_passing(error)
        return self._stream_is_open and not self.is_left_to_others

    def _leave_to_others(self) -> None:
        with self._changed:
            self.is_left_to_others = self.delivered = True
            self._pending.clear()
            self._pending_bytes = 0
        self._given_up.set()

    def _holds_events(self) -> bool:
        """Say whether anything is in the stream; True if we may not look."""
        try:
            return bool(self._client().get_log_events(**self._names, limit=1)["events"])
        except Exception as error:
            if _code(error) != "AccessDeniedException":
                raise
            self.error = f"If the decorator around @relay has made it, this has to be allowed: {error}"
            return True

    def _create_stream(self) -> bool:
        """Make the stream, and its group if that is missing; False if the stream was there."""
        client = self._client()
        try:
            made = _created(client.create_log_stream, **self._names)
        except Exception as error:
            if _code(error) != _NOT_FOUND:
                raise
            if not self.destination.is_marked:
                # The names may be another caller's by chance: no group is made, and none waited for.
                self._create_is_refused = True
                raise
            _created(client.create_log_group, logGroupName=self.destination.group_name)
            made = _created(client.create_log_stream, **self._names)
        self._stream_is_open = True
        return made

    def _send(self, batch: list[LogEvent]) -> bool:
        """Send one batch; False if it stays pending, to be tried again."""
        refused = self._put(batch)
        if refused is None:
            return False
        with self._changed:
            self._lost += refused
            del self._pending[: len(batch)]
            self._pending_bytes -= sum(map(event_bytes, batch))
        return True

    def _send_end(self) -> bool:
        if not self.destination.is_marked:
            self.delivered = not self.error
            return True
        message = contract.encode_end(self._final_marker())
        refused = self._put([{"timestamp": self._valid_time(time.time()), "message": message}])
        self.delivered = refused == 0 and not self.error
        return refused is not None

    def _put(self, events: list[LogEvent]) -> int | None:
        """Put events into the stream; return how many were refused for good, or None to try again."""
        try:
            answer = self._client().put_log_events(**self._names, logEvents=events)
        except Exception as error:
            # Whatever the log service or its client does must not reach the function.
            return None if self._is_passing(error) else len(events)
        self.error = ""
        self._rejected += rejected_count(answer.get("rejectedLogEventsInfo") or {}, len(events))
        return 0

    def _is_passing(self, error: Exception) -> bool:
        self.error = f"{type(error).__name__}: {error}"
        if _code(error) == _NOT_FOUND:
            self._stream_is_open = False
            return not self._create_is_refused
        response = getattr(error, "response", None)
        if response is None:
            return True
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return _code(error) in _PASSING_CODES or status >= _SERVER_ERROR_STATUS


def _now_ms() -> int:
    return int(time.time() * 1000)


def _code(error: Exception) -> str:
    """Return AWS's error code, or an empty text if the error is not an answer of AWS."""
    return str((getattr(error, "response", None) or {}).get("Error", {}).get("Code", ""))


def _created(create: Callable[..., object], **names: str) -> bool:
    """Create; False if it exists."""
    try:
        create(**names)
    except Exception as error:
        if _code(error) != "ResourceAlreadyExistsException":
            raise
        return False
    return True
