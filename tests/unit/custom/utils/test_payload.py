"""What may be sent to a function, and what is refused before anything is sent."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_relay import contract
from custom.errors import PayloadRefused
from custom.utils.payload import MAX_PAYLOAD_BYTES, checked_payload, encode_payload

DESTINATION = contract.Destination("/g", "s", "key")
OVERHEAD = len(encode_payload({"data": ""}, DESTINATION))


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        (None, {}),
        ({}, {}),
        ({"a": [1, 2.5, None, True, "ü", {"b": (1, 2)}]}, {"a": [1, 2.5, None, True, "ü", {"b": (1, 2)}]}),
        ('{"a": null}', {"a": None}),
    ],
)
def test_objects_and_their_json_are_taken(payload: Any, body: dict[str, Any]) -> None:
    assert checked_payload(payload) == body


def test_payload_is_copied() -> None:
    payload = {"a": 1}

    assert checked_payload(payload) is not payload


def test_payload_is_sent_with_the_contract() -> None:
    sent = json.loads(encode_payload({"max_len": 3}, DESTINATION))

    assert sent == {"max_len": 3, **DESTINATION.as_payload()}


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ("{'a': 1}", "line 1, column 2"),
        ('{"a": 1', "not JSON"),
        ("", "not JSON"),
        ("[1]", "must be a JSON object, not list"),
        ("null", "must be a JSON object, not NoneType"),
        ([1], "must be a JSON object, not list"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "-Infinity"),
        ({"a": {"b": [0, float("nan")]}}, r"payload\['a'\]\['b'\]\[1\] is nan"),
        ({"a": float("inf")}, r"payload\['a'\] is inf"),
        ({"when": datetime(2025, 1, 1, tzinfo=UTC)}, r"payload\['when'\] is of type datetime"),
        ({"a": {1, 2}}, r"payload\['a'\] is of type set"),
        ({"a": b"x"}, r"payload\['a'\] is of type bytes"),
        ({1: "a"}, "key 1: keys must be text"),
        ({"a": {None: 1}}, r"payload\['a'\] has the key None"),
        ({"group_name": "/mine"}, "group_name"),
        ({"stream_name": "mine"}, "stream_name"),
        ('{"airflow_relay": {}}', "airflow_relay"),
    ],
    ids=repr,
)
def test_what_json_or_the_contract_does_not_allow_is_refused(payload: Any, said: str) -> None:
    with pytest.raises(PayloadRefused, match=said):
        checked_payload(payload)


def test_six_megabytes_are_measured_after_encoding() -> None:
    room = MAX_PAYLOAD_BYTES - OVERHEAD

    assert len(encode_payload({"data": "x" * room}, DESTINATION)) == 6 * 1024 * 1024
    with pytest.raises(PayloadRefused, match="S3"):
        encode_payload({"data": "x" * (room + 1)}, DESTINATION)
    with pytest.raises(PayloadRefused, match="6,291,456"):
        encode_payload({"data": "ü" * (room // 2)}, DESTINATION)
