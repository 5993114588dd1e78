"""The agreement between function and operator."""

import json
import logging
import re
from pathlib import Path

import pytest

from airflow_relay import contract
from airflow_relay.contract import Destination, EndMarker, Event
from tests.decoded import decode_lines

DESTINATION = Destination("/airflow/lambda/f", "2025/11/20/[$LATEST]d/r/t/-1/1/u", "d/r/t/-1/1")


def test_destination_survives_the_payload() -> None:
    event = json.loads(json.dumps({"max_len": 3, **DESTINATION.as_payload()}))

    assert event["group_name"] == "/airflow/lambda/f"
    assert event["stream_name"] == "2025/11/20/[$LATEST]d/r/t/-1/1/u"
    assert set(event) == {"max_len"} | contract.RESERVED_KEYS
    assert Destination.from_event(event) == DESTINATION


@pytest.mark.bad_input(30, 31)
@pytest.mark.parametrize(
    "event",
    [None, "text", [1], 3, {}, {"group_name": "g"}, {"group_name": "g", "stream_name": 3}],
    ids=["none", "text", "list", "number", "empty", "no stream", "no name of a stream"],
)
def test_event_without_block_asks_for_no_relay(event: object) -> None:
    assert Destination.from_event(event) is None


def test_names_alone_ask_for_the_lines_without_an_end_marker() -> None:
    """As the published recipe's operator asks."""
    event = {"group_name": "/g", "stream_name": "2025/11/20/[$LATEST]u", "max_len": 3}

    assert Destination.from_event(event) == Destination("/g", "2025/11/20/[$LATEST]u", is_marked=False)


@pytest.mark.bad_input(32)
@pytest.mark.parametrize(
    "change",
    [
        {"airflow_relay": "yes"},
        {"airflow_relay": {}},
        {"airflow_relay": {"version": 2}},
        {"group_name": 7},
        {"group_name": "aws/lambda/f"},
        {"group_name": "has space"},
        {"group_name": "g" * 513},
        {"stream_name": None},
        {"stream_name": ""},
        {"stream_name": "a:b"},
        {"stream_name": "a*b"},
        {"stream_name": "a\nb"},
        {"stream_name": "lone \ud800"},
        {"stream_name": "s" * 513},
    ],
    ids=repr,
)
def test_block_that_cannot_be_followed_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(contract.ContractError):
        Destination.from_event({**DESTINATION.as_payload(), **change})


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        pytest.param("", marks=pytest.mark.bad_input(40)),
        pytest.param(" ", marks=pytest.mark.bad_input(40)),
        "two\nlines",
        "[INFO #1] not a prefix",
        "::group::x",
        "日本",
    ],
)
@pytest.mark.parametrize(
    "level", [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL]
)
def test_line_survives_the_stream(level: int, text: str) -> None:
    (message,) = contract.encode_line(level, text, 12)

    assert message.endswith(text)
    assert contract.decode(message) == Event(level, 12, text)


def test_event_is_readable_as_it_stands() -> None:
    assert contract.encode_line(logging.INFO, "twelve", 12) == ["[INFO #12] twelve"]


@pytest.mark.parametrize(("level", "name"), [(5, "DEBUG"), (25, "INFO"), (35, "WARNING"), (99, "CRITICAL")])
def test_level_between_names_counts_as_the_lower(level: int, name: str) -> None:
    assert contract.encode_line(level, "x", 1) == [f"[{name} #1] x"]


def test_a_level_that_the_function_has_renamed_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some give colours to their names."""
    monkeypatch.setattr(logging, "_levelToName", {logging.INFO: "Info"})
    monkeypatch.setattr(logging, "_nameToLevel", {"Info": logging.INFO})

    (message,) = contract.encode_line(logging.INFO, "x", 1)

    assert contract.decode(message) == Event(logging.INFO, 1, "x")


@pytest.mark.bad_input(28)
def test_lone_surrogate_is_replaced() -> None:
    assert contract.encode_line(logging.INFO, "a\ud800b", 1) == ["[INFO #1] a?b"]
    assert '"error": "a?b"' in contract.encode_end(EndMarker("failed", 0, error="a\ud800b"))


@pytest.mark.bad_input(38, 39)
@pytest.mark.parametrize("character", ["a", "é", "語", "😀"])
@pytest.mark.parametrize("offset", range(4))
def test_long_line_is_split_on_character_borders(character: str, offset: int) -> None:
    text = "x" * offset + character * (700_000 // len(character.encode()))

    messages = contract.encode_line(logging.INFO, text, 5)

    assert all(len(message.encode()) + 26 <= contract.MAX_EVENT_BYTES for message in messages)
    assert [re.match(r"\[INFO #(\d+) (\d)/3\] ", message).groups() for message in messages] == [  # type: ignore[union-attr]
        ("5", "1"),
        ("6", "2"),
        ("7", "3"),
    ]
    assert decode_lines(messages) == [text]


def test_longest_line_in_one_event_is_not_marked() -> None:
    (message,) = contract.encode_line(logging.CRITICAL, "x" * 262_000, 999_999_999)

    assert len(message.encode()) + 26 <= contract.MAX_EVENT_BYTES


def test_end_marker_survives_the_stream() -> None:
    marker = EndMarker("failed", 15, 1, 2, 3, "request", "ValueError: ünlucky\nnumber", number=16)

    message = contract.encode_end(marker)

    assert message.startswith('[END #16] {"status": "failed"')
    assert contract.decode(message) == marker


def test_end_marker_of_a_later_version_is_understood() -> None:
    message = '[END #4] {"status": "succeeded", "events": 3, "mood": {"new": "key"}}'

    assert contract.decode(message) == EndMarker("succeeded", 3, number=4)


def test_error_in_the_end_marker_is_cut() -> None:
    marker = contract.decode(contract.encode_end(EndMarker("failed", 0, error="e" * 5_000)))

    assert isinstance(marker, EndMarker)
    assert len(marker.error) == 1_000


def test_a_line_cannot_pass_for_the_end_marker() -> None:
    end = contract.encode_end(EndMarker("succeeded", 0, number=1))

    (message,) = contract.encode_line(logging.INFO, end, 1)

    assert isinstance(contract.decode(message), Event)


@pytest.mark.parametrize(
    "message", ["plain", "", "[INFO] x", "[NOTICE #1] x", "[END #1] {", "[END #1] {}", "[END #2] 3"]
)
def test_foreign_message_is_recognised(message: str) -> None:
    assert contract.decode(message) is None


def test_end_marker_is_found_in_the_functions_own_log() -> None:
    marker = EndMarker("succeeded", 2, number=3)
    tail = f"START\nhello\n{contract.NOTE_PREFIX}{contract.encode_end(marker)}\nEND RequestId: 1\nREPORT"

    assert contract.find_end(tail) == marker
    assert contract.find_end("START\n" + contract.encode_end(marker)) is None


def test_lines_are_decoded_once_each() -> None:
    messages = [
        "[INFO #1] one",
        "[INFO #2] one",
        "[INFO #2] one",
        "[INFO #3 1/2] half, ",
        "[INFO #4 2/2] whole",
        "foreign",
        contract.encode_end(EndMarker("succeeded", 4, number=5)),
    ]

    assert decode_lines(messages) == ["one", "one", "half, whole"]


def test_contract_needs_nothing_but_the_standard_library() -> None:
    source = Path(contract.__file__).read_text()

    assert not re.findall(r"^\s*(?:import|from) (?:boto|airflow|structlog)", source, re.MULTILINE)
