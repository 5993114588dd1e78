"""What may be sent to a function, and what is refused before anything is sent."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_relay import contract
from custom.errors import PayloadRefused
from custom.payload import MAX_PAYLOAD_BYTES, checked_payload, decode_payload, encode_payload

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


@pytest.mark.bad_input(13)
def test_payload_is_copied_and_no_payload_is_a_new_one_each_time() -> None:
    payload = {"a": 1}

    assert checked_payload(payload) is not payload
    assert checked_payload(None) is not checked_payload(None)


def test_payload_is_sent_with_the_contract() -> None:
    sent = json.loads(encode_payload({"max_len": 3}, DESTINATION))

    assert sent == {"max_len": 3, **DESTINATION.as_payload()}


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        pytest.param("{'a': 1}", "line 1, column 2", marks=pytest.mark.bad_input(7)),
        pytest.param('{"a": 1', "not JSON", marks=pytest.mark.bad_input(7)),
        pytest.param("", "not JSON", marks=pytest.mark.bad_input(7)),
        ("[1]", "must be a JSON object, not list"),
        ("null", "must be a JSON object, not NoneType"),
        ([1], "must be a JSON object, not list"),
        pytest.param('{"a": NaN}', "NaN", marks=pytest.mark.bad_input(8)),
        pytest.param('{"a": -Infinity}', "-Infinity", marks=pytest.mark.bad_input(8)),
        pytest.param('{"a": [1e999]}', r"payload\['a'\]\[0\] is inf", marks=pytest.mark.bad_input(8)),
        pytest.param(
            {"a": {"b": [0, float("nan")]}},
            r"payload\['a'\]\['b'\]\[1\] is nan",
            marks=pytest.mark.bad_input(8),
        ),
        pytest.param({"a": float("inf")}, r"payload\['a'\] is inf", marks=pytest.mark.bad_input(8)),
        pytest.param(
            {"when": datetime(2025, 1, 1, tzinfo=UTC)},
            r"payload\['when'\] is of type datetime",
            marks=pytest.mark.bad_input(9),
        ),
        pytest.param({"a": {1, 2}}, r"payload\['a'\] is of type set", marks=pytest.mark.bad_input(9)),
        pytest.param({"a": b"x"}, r"payload\['a'\] is of type bytes", marks=pytest.mark.bad_input(9)),
        pytest.param({1: "a"}, "key 1: keys must be text", marks=pytest.mark.bad_input(10)),
        pytest.param({"a": {None: 1}}, r"payload\['a'\] has the key None", marks=pytest.mark.bad_input(10)),
        pytest.param({"group_name": "/mine"}, "group_name", marks=pytest.mark.bad_input(11)),
        pytest.param({"stream_name": "mine"}, "stream_name", marks=pytest.mark.bad_input(11)),
        pytest.param('{"airflow_relay": {}}', "airflow_relay", marks=pytest.mark.bad_input(11)),
    ],
    ids=repr,
)
def test_what_json_or_the_contract_does_not_allow_is_refused(payload: Any, said: str) -> None:
    with pytest.raises(PayloadRefused, match=said):
        checked_payload(payload)


@pytest.mark.bad_input(12)
def test_six_megabytes_are_measured_after_encoding() -> None:
    room = MAX_PAYLOAD_BYTES - OVERHEAD

    assert len(encode_payload({"data": "x" * room}, DESTINATION)) == 6 * 1024 * 1024
    with pytest.raises(PayloadRefused, match="S3"):
        encode_payload({"data": "x" * (room + 1)}, DESTINATION)
    with pytest.raises(PayloadRefused, match="6,291,456"):
        encode_payload({"data": "ü" * (room // 2)}, DESTINATION)


@pytest.mark.bad_input(12)
def test_an_asynchronous_call_takes_one_megabyte() -> None:
    asynchronous = DESTINATION._replace(asynchronous=True)
    room = 1024 * 1024 - len(encode_payload({"data": ""}, asynchronous))

    assert len(encode_payload({"data": "x" * room}, asynchronous)) == 1024 * 1024
    with pytest.raises(PayloadRefused, match="1,048,576 from a deferrable task"):
        encode_payload({"data": "x" * (room + 1)}, asynchronous)


# Airflow cannot store NaN and infinite numbers, which Python's JSON lets through.
@pytest.mark.bad_input(23, 28)
@pytest.mark.parametrize(
    ("payload", "result"),
    [(b"", None), (b" ", None), (b"null", None), (b'{"a": 1}', {"a": 1}), (b'"text"', "text"),
     (b"not json", "not json"), (b'{"a": NaN}', '{"a": NaN}'), (b"[1e999]", "[1e999]"),
     (b"\xff", "\ufffd")],
    ids=repr,
)  # fmt: skip
def test_result_is_decoded_as_far_as_it_can_be(payload: bytes, result: Any) -> None:
    assert decode_payload(payload) == result
