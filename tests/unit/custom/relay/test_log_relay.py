"""From events to task-log records: whole, in order, once each, and harmless."""

import io
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from airflow_relay import contract
from custom.relay import log_relay
from custom.relay.log_relay import Follower, Line, StreamRelay, sanitised, task_log_writer


def event(message: str, timestamp: int = 1000) -> dict[str, Any]:
    return {"message": message, "timestamp": timestamp, "ingestionTime": timestamp}


def end(number: int, **more: Any) -> dict[str, Any]:
    return event(contract.encode_end(contract.EndMarker("succeeded", number - 1, number=number, **more)))


def texts(follower: Follower, *events: dict[str, Any]) -> list[str]:
    return [line.text for line in follower.feed(events)]


class TestFollower:
    def test_lines_keep_level_time_and_order(self) -> None:
        events = [event("[INFO #1] one", 5), event("[ERROR #2] two", 5), event("[INFO #3] two\nlines", 7)]

        assert list(Follower().feed(events)) == [
            Line(logging.INFO, "one", 5),
            Line(logging.ERROR, "two", 5),
            Line(logging.INFO, "two\nlines", 7),
        ]

    def test_equal_lines_of_one_millisecond_are_all_kept(self) -> None:
        assert texts(Follower(), event("[INFO #1] x"), event("[INFO #2] x")) == ["x", "x"]

    def test_repeated_events_are_given_once(self) -> None:
        follower = Follower()

        assert texts(follower, event("[INFO #1] a"), event("[INFO #2] b")) == ["a", "b"]
        assert texts(follower, event("[INFO #1] a"), event("[INFO #2] b"), event("[INFO #3] c")) == ["c"]

    def test_late_events_are_given_when_they_come(self) -> None:
        follower = Follower()

        assert texts(follower, event("[INFO #1] a"), event("[INFO #3] c")) == ["a", "c"]
        assert follower.missing() == 1
        assert texts(follower, event("[INFO #2] b"), event("[INFO #2] b")) == ["b"]
        assert follower.missing() == 0

    def test_pieces_become_one_line(self) -> None:
        follower = Follower()

        assert texts(follower, event("[INFO #1 1/3] a"), event("[INFO #2 2/3] b")) == []
        assert texts(follower, event("[INFO #3 3/3] c")) == ["abc"]

    def test_a_line_with_a_piece_missing_is_given_as_far_as_it_came(self) -> None:
        follower = Follower()

        assert texts(follower, event("[INFO #1 1/3] a"), event("[INFO #4] next")) == ["a", "next"]
        assert texts(follower, event("[INFO #5 1/2] cut"), end(7)) == ["cut"]

    def test_end_marker_is_kept_and_not_shown(self) -> None:
        follower = Follower()

        assert texts(follower, event("[INFO #1] a"), end(2)) == ["a"]
        assert follower.end == contract.EndMarker("succeeded", 1, number=2)

    def test_missing_events_show_at_the_end_marker(self) -> None:
        follower = Follower()
        texts(follower, event("[INFO #1] a"), end(5))

        assert follower.missing() == 3

    def test_foreign_events_are_shown_as_they_are(self) -> None:
        assert list(Follower().feed([event("hello", 3)])) == [Line(logging.INFO, "hello", 3)]

    def test_an_absurd_number_costs_nothing(self) -> None:
        follower = Follower()
        texts(follower, event("[INFO #999999999] x"))

        assert follower.missing() == log_relay.MAX_AWAITED


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("", ""),
        ("tab\tand\nline", "tab\tand\nline"),
        pytest.param("\x1b[31mred\x1b[0m", "red", marks=pytest.mark.bad_input(27)),
        pytest.param("\x1b]0;title\x07x\x1b]8;;http://evil\x1b\\y", "xy", marks=pytest.mark.bad_input(27)),
        ("\x1b(Bx\x1b7y", "xy"),
        pytest.param("windows\r\nline", "windows\nline", marks=pytest.mark.bad_input(27)),
        pytest.param("10%\r20%", "10%\n20%", marks=pytest.mark.bad_input(27)),
        pytest.param(
            "nul\x00bell\x07del\x7fcsi\x9b",
            "nul\\x00bell\\x07del\\x7fcsi\\x9b",
            marks=pytest.mark.bad_input(27),
        ),
        ("a\u2028b", "a\\u2028b"),
        pytest.param("::group::fold", ": :group::fold", marks=pytest.mark.bad_input(27)),
        pytest.param("x ::endgroup::", "x : :endgroup::", marks=pytest.mark.bad_input(27)),
        ("::::group::", "::: :group::"),
        pytest.param("\x1b[0m::gro\x1b[0mup::x", ": :group::x", marks=pytest.mark.bad_input(27)),
        ("std::vector", "std::vector"),
        pytest.param("lone \ud800", "lone ?", marks=pytest.mark.bad_input(28)),
        ("日本語 😀", "日本語 😀"),
    ],
    ids=repr,
)
def test_text_is_made_harmless(text: str, shown: str) -> None:
    assert sanitised(text) == shown


@pytest.mark.bad_input(27)
def test_group_markers_do_not_survive_in_any_form() -> None:
    for text in ("::group::", "::endgroup::", "::\x1b[0mgroup::", "::::group::"):
        assert "::group::" not in sanitised(text)
        assert "::endgroup::" not in sanitised(text)


@pytest.mark.bad_input(27)
def test_long_line_is_cut_with_a_note() -> None:
    shown = sanitised("x" * (log_relay.MAX_LINE_CHARS + 1_234))

    assert shown == "x" * log_relay.MAX_LINE_CHARS + " … [cut: 1,234 more characters in the log stream]"


class TestStreamRelay:
    @pytest.fixture(autouse=True)
    def _no_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = 0.0
        monkeypatch.setattr("time.monotonic", lambda: self.clock)
        monkeypatch.setattr("time.sleep", self.pass_time)

    def pass_time(self, seconds: float) -> None:
        self.clock += seconds

    def relay(self, *answers: Any) -> tuple[StreamRelay, list[str], list[str | None]]:
        script: Iterator[Any] = iter(answers)
        written: list[str] = []
        tokens: list[str | None] = []

        def read(token: str | None) -> tuple[Any, Any]:
            tokens.append(token)
            answer: Any = next(script, ([], token))
            if isinstance(answer, Exception):
                raise answer
            events, next_token = answer
            return events, next_token

        return StreamRelay(read, lambda line: written.append(line.text), 0.25), written, tokens

    def test_goes_on_from_the_last_token(self) -> None:
        relay, written, tokens = self.relay(([event("[INFO #1] a")], "t1"), ([event("[INFO #2] b")], "t2"))
        relay.copy_new()
        relay.copy_new()
        relay.copy_new()

        assert written == ["a", "b"]
        assert tokens == [None, "t1", "t2"]

    def test_knows_whether_the_stream_exists(self) -> None:
        relay, _, _ = self.relay(([], None), ([], "t1"))
        relay.copy_new()
        assert not relay.stream_exists()
        relay.copy_new()
        assert relay.stream_exists()

    def test_drains_to_the_end_marker_and_no_longer(self) -> None:
        relay, written, tokens = self.relay(([], "t"), ([event("[INFO #1] late")], "t"), ([end(2)], "t"))
        relay.drain(10)

        assert written == ["late"]
        assert len(tokens) == 3
        assert relay.is_complete()

    def test_waits_for_what_is_missing_before_the_end_marker(self) -> None:
        relay, written, _ = self.relay(([end(2)], "t"), ([], "t"), ([event("[INFO #1] late")], "t"))
        relay.drain(10)

        assert written == ["late"]
        assert relay.is_complete()

    def test_does_not_wait_for_what_is_known_to_be_lost(self) -> None:
        relay, _, tokens = self.relay(([end(4, lost=2, rejected=1)], "t"))
        relay.drain(10)

        assert len(tokens) == 1

    def test_drains_no_longer_than_allowed(self) -> None:
        relay, _, tokens = self.relay()
        relay.drain(2)

        assert self.clock == pytest.approx(2)
        assert len(tokens) == 8
        assert not relay.is_complete()

    def test_nothing_is_awaited_in_no_time(self) -> None:
        relay, _, tokens = self.relay()
        relay.drain(0)

        assert tokens == []

    def test_an_unfinished_line_is_shown_at_the_end(self) -> None:
        relay, written, _ = self.relay(([event("[INFO #1 1/2] half")], "t"))
        relay.copy_new()
        relay.drain(0)

        assert written == ["half"]

    def test_failing_reads_are_survived_said_once_and_slowed_down(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        relay, written, tokens = self.relay(
            ([event("[INFO #1] a")], "t1"),
            *[ConnectionError("reset")] * 6,
            ([event("[INFO #2] b")], "t2"),
        )
        pauses = []
        for _ in range(8):
            relay.copy_new()
            pauses.append(relay.pause)

        assert written == ["a", "b"]
        assert set(tokens[1:]) == {"t1"}
        assert caplog.text.count("reset") == 1
        assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 0.25]


class TestTaskLogWriter:
    """Written through Airflow's own logging, as a task process has it set up at level INFO."""

    @pytest.fixture(autouse=True)
    def _airflow_logging(self) -> Iterator[None]:
        from airflow.sdk.log import configure_logging

        root = logging.getLogger()
        before = root.handlers[:], root.level
        self.output = io.BytesIO()
        configure_logging(
            json_output=True, log_level="INFO", output=self.output, cache_logger_on_first_use=False
        )
        yield
        configure_logging.cache_clear()
        structlog.reset_defaults()
        root.handlers[:], root.level = before

    def records(self, *lines: Line) -> list[dict[str, Any]]:
        write = task_log_writer("f")
        for line in lines:
            write(line)
        return [json.loads(record) for record in self.output.getvalue().splitlines()]

    @pytest.fixture(params=["UTC0", "AEST-10AEDT,M10.1.0,M4.1.0/3"])
    def _time_zone(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setenv("TZ", request.param)
            time.tzset()
            yield
        time.tzset()

    @pytest.mark.bad_input(42)
    @pytest.mark.usefixtures("_time_zone")
    def test_record_has_the_functions_level_and_time(self) -> None:
        (record,) = self.records(Line(logging.ERROR, "two\nlines", 1_700_000_000_123))

        assert record["event"] == "two\nlines"
        assert record["level"] == "error"
        assert record["timestamp"] == "2023-11-14T22:13:20.123000Z"
        assert record["logger"] == "lambda.f"

    def test_every_level_is_written_as_what_it_is(self) -> None:
        levels = [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL]

        records = self.records(*(Line(level, "x", 0) for level in levels))

        assert [record["level"] for record in records] == ["debug", "info", "warning", "error", "critical"]

    def test_percent_signs_are_no_format(self) -> None:
        assert self.records(Line(logging.INFO, "100 %s %(x)s", 0))[0]["event"] == "100 %s %(x)s"

    def test_lines_of_one_millisecond_differ_in_their_microseconds(self) -> None:
        records = self.records(*[Line(logging.INFO, "x", 5)] * 3, Line(logging.INFO, "x", 6))

        assert [record["timestamp"][-8:] for record in records] == [
            ".005000Z",
            ".005001Z",
            ".005002Z",
            ".006000Z",
        ]

    def test_microseconds_never_reach_the_next_millisecond(self) -> None:
        records = self.records(*[Line(logging.INFO, "x", 5)] * 1_500)

        assert {record["timestamp"][-8:-4] for record in records} == {".005"}

    @pytest.mark.bad_input(27)
    def test_text_is_sanitised(self) -> None:
        assert self.records(Line(logging.INFO, "::group::\x00", 0))[0]["event"] == ": :group::\\x00"


def test_a_terminal_sequence_without_an_end_takes_no_more_than_its_line() -> None:
    assert sanitised("\x1b]oops\nTraceback: the reason") == "\nTraceback: the reason"
