"""What the function and the operator agree on: payload keys, names, limits and the form of events.

It ships with every function and is imported by the operator; nothing of it is repeated elsewhere.

**The payload.** The caller names where the log is to go in ``group_name`` and ``stream_name``, and puts
everything else under one reserved key, ``airflow_relay``::

    {"max_len": 6,
     "group_name": "/airflow/lambda/airflow-test",
     "stream_name": "2025/11/20/[$LATEST]demo-dag/…",
     "airflow_relay": {"version": 1, "idempotency_key": "demo-dag/…/1"}}

A caller that does not wait for Lambda's answer says so with ``"asynchronous": true``. The end marker then
carries the result too, and of several deliveries only the one that makes the stream runs the handler.

A caller that sends ``group_name`` and ``stream_name`` alone, as the published recipe's operator does, gets
the lines without an end marker, which it would show as a line.

**The form of an event.** Time is the event's own time, in milliseconds. The rest is plain text behind a
short prefix::

    [INFO #12] twelve of twenty done
    [ERROR #13] Traceback (most recent call last): …
    [INFO #14 1/2] the first half of a line too long for one event
    [END #16] {"status": "failed", "events": 15, …}

A prefix, and not JSON, because people read the stream in the CloudWatch console, where a traceback inside
JSON is one long line of ``\\n``. It carries what an event has no field for: the level, and a number.
PutLogEvents knows no idempotency: if a request that timed out was stored, sending it again stores it twice.
The number tells such a repetition from two equal lines, and shows what is missing. As each line has a prefix,
no line can pass for an end marker, and an empty line is a valid event (CloudWatch refuses an empty message).
"""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

VERSION = 1

# Payload keys. The first two are those of the published recipe for handing a function its log stream.
GROUP_KEY = "group_name"
STREAM_KEY = "stream_name"
RELAY_KEY = "airflow_relay"
RESERVED_KEYS = frozenset({GROUP_KEY, STREAM_KEY, RELAY_KEY})

# PutLogEvents: a batch has 1,048,576 bytes at most, "calculated as the sum of all event messages in UTF-8,
# plus 26 bytes for each log event", 10,000 events at most, and "cannot span more than 24 hours".
MAX_BATCH_BYTES = 1_048_576
EVENT_OVERHEAD_BYTES = 26
MAX_BATCH_EVENTS = 10_000
MAX_BATCH_SPAN_MS = 24 * 60 * 60 * 1000
# Newer pages allow 1 MB for one event, older ones and some regions 256 KB. The smaller is valid everywhere.
MAX_EVENT_BYTES = 262_144
# CreateLogStream: 1 to 512 characters, "[^:*]*".
MAX_STREAM_NAME_CHARS = 512
STREAM_NAME_PATTERN = re.compile(r"[^:*\x00-\x1f\x7f\ud800-\udfff]{1,512}")
# CreateLogGroup: 1 to 512 of these characters; "Log group names can't start with the string aws/".
GROUP_NAME_PATTERN = re.compile(r"(?!aws/)[A-Za-z0-9_\-/.#]{1,512}")
# What the library itself says in the function's own log begins like this.
NOTE_PREFIX = "airflow_relay: "
# The longest result that an end marker carries, as JSON. The whole marker then fits into one event.
MAX_RESULT_BYTES = 200_000

# 40 bytes are for the longest prefix, "[CRITICAL #999999999 9999/9999] ".
_MAX_PIECE_BYTES = MAX_EVENT_BYTES - EVENT_OVERHEAD_BYTES - 40
# The names that ``logging`` gives to its levels 10 to 50. A function may change them there.
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_EVENT_PATTERN = re.compile(
    rf"\[(?P<level>{'|'.join(_LEVELS)}|END) #(?P<number>\d{{1,9}})"
    r"(?: (?P<part>\d{1,4})/(?P<parts>\d{1,4}))?\] (?P<text>.*)",
    re.DOTALL,
)
_MAX_ERROR_CHARS = 1_000

SUCCEEDED = "succeeded"
FAILED = "failed"


class ContractError(ValueError):
    """A payload block, a name or a result that the two sides cannot work with."""


class Destination(NamedTuple):
    """Where a function's log lines go.

    :param idempotency_key: names the try that asks; see :func:`airflow_relay.naming.idempotency_key`.
    :param asynchronous: the caller does not wait for Lambda's answer, but for the end marker.
    :param is_marked: the caller knows of end markers; False for one that sends no block.
    """

    group_name: str
    stream_name: str
    idempotency_key: str = ""
    asynchronous: bool = False
    is_marked: bool = True

    @classmethod
    def from_event(cls, event: object) -> "Destination | None":
        """Read from a function's event where the lines go; None if the caller wants no relay.

        :raises ContractError: if there is a block that cannot be followed.
        """
        if not isinstance(event, Mapping):
            return None
        if RELAY_KEY not in event:
            group, stream = event.get(GROUP_KEY), event.get(STREAM_KEY)
            try:
                return cls(check_group_name(group), check_stream_name(stream), is_marked=False)
            except ContractError:  # keys of the function's own
                return None
        block = event[RELAY_KEY]
        if not isinstance(block, Mapping) or block.get("version") != VERSION:
            raise ContractError(f"{RELAY_KEY!r} must be an object with version {VERSION}, not {block!r:.100}")
        return cls(
            group_name=check_group_name(event.get(GROUP_KEY)),
            stream_name=check_stream_name(event.get(STREAM_KEY)),
            idempotency_key=str(block.get("idempotency_key", "")),
            asynchronous=block.get("asynchronous") is True,
        )

    def as_payload(self) -> dict[str, Any]:
        """Return the keys to add to the function's payload."""
        block: dict[str, Any] = {"version": VERSION, "idempotency_key": self.idempotency_key}
        if self.asynchronous:
            block["asynchronous"] = True
        return {GROUP_KEY: self.group_name, STREAM_KEY: self.stream_name, RELAY_KEY: block}


class Event(NamedTuple):
    """One decoded log event: a line, or a piece of a line too long for one event."""

    level: int
    number: int
    text: str
    part: int = 1
    parts: int = 1


class EndMarker(NamedTuple):
    """The last event of a stream: how the call ended, and what became of its lines.

    :param status: ``succeeded`` or ``failed``: whether the handler returned or raised.
    :param events: how many events were numbered before this one.
    :param rejected: how many of them CloudWatch refused (``rejectedLogEventsInfo``).
    :param lost: how many of them could not be sent.
    :param clamped: how many carried a time outside the call, and were given the nearest one inside.
    :param request_id: Lambda's id of this invocation.
    :param error: what the handler raised, in one line.
    :param result: what the handler returned, for an asynchronous caller; None if it is too long.
    :param result_bytes: the result's length as JSON; 0 if none was asked for.
    """

    status: str
    events: int
    rejected: int = 0
    lost: int = 0
    clamped: int = 0
    request_id: str = ""
    error: str = ""
    result: Any = None
    result_bytes: int = 0
    number: int = 0

    def without_result(self) -> "EndMarker":
        """Return a copy for places that the result is too long or too private for."""
        return self._replace(result=None)


def check_group_name(name: object) -> str:
    """Return the log group's name; raise ContractError if CloudWatch would not take it."""
    if not isinstance(name, str) or not GROUP_NAME_PATTERN.fullmatch(name):
        raise ContractError(
            f"log group name {name!r:.100} is not usable: 1 to 512 letters, digits and _-/.#, "
            "and not starting with 'aws/'"
        )
    return name


def check_stream_name(name: object) -> str:
    """Return the log stream's name; raise ContractError if CloudWatch would not take it."""
    if not isinstance(name, str) or not STREAM_NAME_PATTERN.fullmatch(name):
        raise ContractError(
            f"log stream name {name!r:.100} is not usable: 1 to 512 characters without ':' and '*'"
        )
    return name


def encode_line(level: int, text: str, first_number: int) -> list[str]:
    """Turn one logged line into the messages of one or more events.

    :param level: a level of the ``logging`` module; one between two named levels counts as the lower.
    :param text: may hold line breaks. A lone surrogate, which UTF-8 cannot carry, becomes "?".
    """
    name = _LEVELS[min(max(level // 10, 1), len(_LEVELS)) - 1]
    pieces = list(_split(text.encode("utf-8", errors="replace")))
    if len(pieces) == 1:
        return [f"[{name} #{first_number}] {pieces[0]}"]
    numbered = enumerate(pieces)
    return [f"[{name} #{first_number + i} {i + 1}/{len(pieces)}] {piece}" for i, piece in numbered]


def _split(data: bytes) -> Iterator[str]:
    """Cut UTF-8 bytes into texts that fit an event together with their prefix."""
    start = 0
    while len(data) - start > _MAX_PIECE_BYTES:
        end = start + _MAX_PIECE_BYTES
        # A byte 10xxxxxx continues a character: step back to where that character begins.
        while data[end] & 0xC0 == 0x80:
            end -= 1
        yield data[start:end].decode()
        start = end
    yield data[start:].decode()


def encode_end(marker: EndMarker) -> str:
    """Turn an end marker into the message of the last event."""
    body = marker._asdict()
    number = body.pop("number")
    body["error"] = marker.error[:_MAX_ERROR_CHARS]
    if not marker.result_bytes:
        del body["result"], body["result_bytes"]
    text = json.dumps(body, ensure_ascii=False)
    return f"[END #{number}] {text.encode('utf-8', errors='replace').decode()}"


def result_fields(result: object) -> dict[str, Any]:
    """Return the end marker's fields for what a handler returned.

    :raises ContractError: if it is not JSON. As for Lambda itself, a ``Decimal`` counts as a number.
    """
    try:
        text = json.dumps(result, ensure_ascii=False, default=_decimal)
    except (TypeError, ValueError) as error:
        raise ContractError(f"the result is not JSON: {error}") from None
    size = len(text.encode("utf-8", errors="replace"))
    return {"result": json.loads(text) if size <= MAX_RESULT_BYTES else None, "result_bytes": size}


def _decimal(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} is not JSON serializable")


def decode(message: str) -> Event | EndMarker | None:
    """Read the message of an event; None if this library did not write it."""
    match = _EVENT_PATTERN.fullmatch(message)
    if match is None:
        return None
    number = int(match["number"])
    if match["level"] == "END":
        return _decode_end(match["text"], number)
    level = 10 * (_LEVELS.index(match["level"]) + 1)
    return Event(level, number, match["text"], int(match["part"] or 1), int(match["parts"] or 1))


def _decode_end(text: str, number: int) -> EndMarker | None:
    try:
        body = json.loads(text)
        known = set(EndMarker._fields) - {"number"}
        # Keys of a later version are passed over: an older operator still finds the end.
        return EndMarker(number=number, **{key: body[key] for key in known if key in body})
    except (ValueError, TypeError):
        return None


def find_end(log_tail: str) -> EndMarker | None:
    """Find the end marker in a function's own log, or in the tail of it that Lambda returns."""
    for line in reversed(log_tail.splitlines()):
        if line.startswith(NOTE_PREFIX) and isinstance(marker := decode(line[len(NOTE_PREFIX) :]), EndMarker):
            return marker
    return None
