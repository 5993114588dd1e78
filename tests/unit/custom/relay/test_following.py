"""From events to task-log records: whole, in order, once each, and harmless."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_relay import contract
from custom.relay import following
from custom.relay.following import Follower, StreamRelay
from custom.relay.writing import Line


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

        assert follower.missing() == following.MAX_AWAITED

    def test_a_stream_of_others_is_recognised_by_its_events(self) -> None:
        follower = Follower()
        assert not follower.is_foreign

        assert texts(follower, event("INFO Start Request")) == ["INFO Start Request"]
        assert follower.is_foreign

        texts(follower, event("[INFO #1] ours"))
        assert not follower.is_foreign

    def test_lines_of_two_decorators_are_given_once(self) -> None:
        follower = Follower()
        stream = ("[INFO #1] one", "INFO root one", "INFO root Start", "ERROR root two", "[ERROR #2] two")

        assert texts(follower, *map(event, stream)) == ["one", "INFO root Start", "ERROR root two"]
        assert follower.others.repeated == 2

    def test_nothing_of_others_comes_after_the_end(self) -> None:
        """A decorator around ours puts all lines of the call there."""
        follower = Follower()

        assert texts(follower, event("[INFO #1] one"), end(2), event("INFO root End Request")) == ["one"]
        assert follower.others.count == 1

    def test_what_others_wrote_is_part_of_the_position(self) -> None:
        follower = Follower()
        texts(follower, event("ERROR root broken"))

        later = Follower(json.loads(json.dumps(follower.position())))

        assert later.is_foreign
        assert later.others.error == "ERROR root broken"

    def test_a_position_of_an_earlier_version_is_taken(self) -> None:
        position = Follower().position()
        del position["others"]

        assert not Follower(position).is_foreign


class TestStreamRelay:
    @pytest.fixture(autouse=True)
    def _no_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = 0.0
        monkeypatch.setattr("time.monotonic", lambda: self.clock)

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
        relay.drain(10, self.pass_time, is_marked=True)

        assert written == ["late"]
        assert len(tokens) == 3
        assert relay.is_complete()

    def test_waits_for_what_is_missing_before_the_end_marker(self) -> None:
        relay, written, _ = self.relay(([end(2)], "t"), ([], "t"), ([event("[INFO #1] late")], "t"))
        relay.drain(10, self.pass_time, is_marked=True)

        assert written == ["late"]
        assert relay.is_complete()

    def test_does_not_wait_for_what_is_known_to_be_lost(self) -> None:
        relay, _, tokens = self.relay(([end(4, lost=2, rejected=1)], "t"))
        relay.drain(10, self.pass_time, is_marked=True)

        assert len(tokens) == 1

    def test_drains_no_longer_than_allowed(self) -> None:
        relay, _, tokens = self.relay()
        relay.drain(2, self.pass_time, is_marked=True)

        assert self.clock == pytest.approx(2)
        assert len(tokens) == 8
        assert not relay.is_complete()

    def test_a_stream_of_others_is_drained_until_it_is_quiet(self) -> None:
        relay, written, _ = self.relay(([event("INFO one")], "t"), ([], "t"), ([event("INFO two")], "t"))
        relay.copy_new()
        relay.drain(10, self.pass_time, is_marked=False)

        assert written == ["INFO one", "INFO two"]
        assert self.clock == pytest.approx(0.5 + following.QUIET_SECONDS)

    def test_a_stream_of_others_that_is_never_quiet_is_drained_for_two_seconds(self) -> None:
        relay, _, _ = self.relay(*[([event("INFO more")], "t")] * 99)
        relay.drain(10, self.pass_time, is_marked=False)

        assert self.clock == pytest.approx(following.UNLIKELY_DRAIN_SECONDS)

    def test_events_of_others_do_not_shorten_the_wait_for_an_end_marker_that_was_written(self) -> None:
        relay, _, _ = self.relay(([event("INFO one")], "t"), *[([], "t")] * 19, ([end(1)], "t"))
        relay.drain(10, self.pass_time, is_marked=True)

        assert self.clock == pytest.approx(21 * 0.25)
        assert relay.is_complete()

    def test_a_pause_that_raises_ends_the_drain_and_shows_what_is_there(self) -> None:
        relay, written, _ = self.relay(([event("[INFO #1 1/2] half")], "t"))
        relay.copy_new()

        def pause(seconds: float) -> None:
            raise InterruptedError

        with pytest.raises(InterruptedError):
            relay.drain(10, pause, is_marked=True)
        assert written == ["half"]

    def test_nothing_is_awaited_in_no_time(self) -> None:
        relay, _, tokens = self.relay()
        relay.drain(0, self.pass_time, is_marked=True)

        assert tokens == []

    def test_an_unfinished_line_is_shown_at_the_end(self) -> None:
        relay, written, _ = self.relay(([event("[INFO #1 1/2] half")], "t"))
        relay.copy_new()
        relay.drain(0, self.pass_time, is_marked=True)

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
