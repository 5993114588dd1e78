"""Checking and encoding what is sent to a function."""

import json
import math
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from airflow_relay import contract
from custom.errors import PayloadRefused

# Lambda quotas: 6 MB for a synchronous invocation, 1 MB for an asynchronous one.
MAX_PAYLOAD_BYTES = 6 * 1024 * 1024
MAX_ASYNCHRONOUS_PAYLOAD_BYTES = 1024 * 1024


def checked_payload(payload: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """Return the payload as a new dict.

    :param payload: an object, or JSON text of one, as a rendered template is; None for an empty object.
    :raises PayloadRefused: with what is wrong, and where in the payload.
    """
    if payload is None:
        payload = {}
    elif isinstance(payload, str):
        payload = _parsed(payload)
    if not isinstance(payload, Mapping):
        raise PayloadRefused(f"payload must be a JSON object, not {type(payload).__name__}")
    body = dict(payload)
    if taken := sorted(contract.RESERVED_KEYS & body.keys()):
        raise PayloadRefused(f"payload uses the reserved keys {taken}: the operator sets them; rename yours")
    _check(body, "payload")
    return body


def overridden(
    payload: Mapping[str, Any] | str | None, conf: Mapping[str, Any], overrides: bool | Collection[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the payload as a run's conf has changed it, and the keys that the conf sets.

    :param overrides: which keys the conf may set: all, none, or these.
    :raises PayloadRefused: as :func:`checked_payload` does.
    """
    body = checked_payload(payload)
    if overrides is not True:
        conf = {key: conf[key] for key in overrides or () if key in conf}
    return checked_payload({**body, **conf}), sorted(conf)


def encode_payload(body: Mapping[str, Any], destination: contract.Destination) -> bytes:
    """Return a checked payload with its log's destination as JSON; raise PayloadRefused if it is too long."""
    data = json.dumps({**body, **destination.as_payload()}).encode()
    limit = MAX_ASYNCHRONOUS_PAYLOAD_BYTES if destination.asynchronous else MAX_PAYLOAD_BYTES
    if len(data) > limit:
        way = " from a deferrable task" if destination.asynchronous else ""
        raise PayloadRefused(
            f"payload is {len(data):,} bytes as JSON, Lambda takes {limit:,}{way}: "
            "put the data into S3 and send its key"
        )
    return data


def decode_payload(payload: bytes) -> Any:
    """Return a payload decoded: from JSON, else as text, None if it is empty."""
    text = payload.decode("utf-8", errors="replace")
    try:
        result = json.loads(text) if text.strip() else None
        # Python reads NaN and 1e999 without a word, but Airflow cannot store them as an XCom.
        json.dumps(result, allow_nan=False)
    except ValueError:
        return text
    return result


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise PayloadRefused(
            f"payload is text but not JSON: {error.msg} at line {error.lineno}, column {error.colno}. "
            "In a template, write values with the tojson filter"
        ) from None


def _refuse_constant(name: str) -> NoReturn:
    raise PayloadRefused(f"payload contains {name}, which JSON does not have")


def _check(value: object, path: str) -> None:
    """Refuse what json.dumps would let through or change without a word."""
    match value:
        case float() if not math.isfinite(value):
            raise PayloadRefused(f"{path} is {value}, which JSON does not have")
        case None | str() | int() | float():
            return
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise PayloadRefused(f"{path} has the key {key!r:.100}: keys must be text")
                _check(item, f"{path}[{key!r:.100}]")
        case list() | tuple():
            for index, item in enumerate(value):
                _check(item, f"{path}[{index}]")
        case _:
            raise PayloadRefused(f"{path} is of type {type(value).__name__}, which JSON does not have")
