"""Lines that another decorator writes: which are there twice, and whether the last ones are an error's."""

import json
from functools import partial

import pytest

from custom.relay import others
from custom.relay.others import OtherLines


def theirs(text: str, level: str = "INFO") -> str:
    """As the published recipe formats the first line of a record."""
    return f"{level:8} 2026-01-31 10:00:00,123 root         {text}"


class TestRepeats:
    def test_what_ours_had_before_is_not_new(self) -> None:
        lines = OtherLines()

        assert lines.is_ours_new("current run 1")
        assert not lines.is_new(theirs("current run 1"))
        assert (lines.count, lines.repeated) == (1, 1)

    def test_what_theirs_had_before_is_not_new(self) -> None:
        lines = OtherLines()

        assert lines.is_new(theirs("current run 1"))
        assert not lines.is_ours_new("current run 1")
        assert lines.repeated == 1

    @pytest.mark.parametrize("first", ["ours", "theirs"])
    def test_of_equal_lines_as_many_as_were_said_are_new(self, first: str) -> None:
        lines = OtherLines()
        ours, other = partial(lines.is_ours_new, "again"), partial(lines.is_new, theirs("again"))
        one, two = (ours, other) if first == "ours" else (other, ours)

        assert [one(), one()] == [True, True]
        assert [two(), two(), two()] == [False, False, True]

    def test_an_event_with_a_line_twice_needs_two_of_ours(self) -> None:
        lines = OtherLines()
        lines.is_ours_new("again")

        assert lines.is_new(theirs("again\nagain"))

    def test_a_traceback_is_one_line_of_ours_and_many_events_of_theirs(self) -> None:
        traceback = 'Traceback (most recent call last):\n  File "f.py", line 1\n\nValueError: no luck'
        first, *rest = [line for line in traceback.split("\n") if line]
        events = [theirs(first, "ERROR"), *rest]

        lines = OtherLines()
        assert lines.is_ours_new(traceback)
        assert not any([lines.is_new(event) for event in events])

        lines = OtherLines()
        assert all([lines.is_new(event) for event in events])
        assert not lines.is_ours_new(traceback)

    def test_what_only_one_of_them_has_is_new(self) -> None:
        lines = OtherLines()

        assert lines.is_ours_new("printed")
        assert lines.is_new(theirs("Start Request"))
        assert lines.is_ours_new("Start")
        assert lines.is_ours_new("equest")
        assert lines.is_new(theirs("printed twice"))

    def test_an_empty_line_of_ours_is_new(self) -> None:
        lines = OtherLines()
        lines.is_new(theirs("x"))

        assert lines.is_ours_new("")

    def test_what_is_remembered_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(others, "MAX_REMEMBERED", 1)
        lines = OtherLines()
        lines.is_ours_new("one")
        lines.is_ours_new("two")

        assert not lines.is_new(theirs("one"))
        assert lines.is_new(theirs("two"))


RECIPE_FAILED = [
    theirs("Start Request"),
    theirs("fails at 1", "ERROR"),
    theirs("Traceback (most recent call last):", "ERROR"),
    '  File "/var/task/f.py", line 3, in f',
    '    raise LookupError("fails at 1")',
    "LookupError: fails at 1",
]


class TestError:
    @pytest.mark.parametrize(
        ("events", "error"),
        [
            ([theirs("Start Request"), theirs("End Request")], ""),
            (RECIPE_FAILED, theirs("fails at 1", "ERROR")),
            ([*RECIPE_FAILED, theirs("retried")], ""),
            ([theirs("broken", "ERROR"), theirs("End Request")], ""),
            ([theirs("broken", "CRITICAL")], theirs("broken", "CRITICAL")),
            (["ERROR: broken", "but it goes on"], ""),
            (["ERROR: broken", "  in two lines"], "ERROR: broken"),
            (["Traceback (most recent call last):\n  File\nKeyError"], "Traceback (most recent call last):"),
            ([json.dumps({"level": "ERROR", "message": "x"})], '{"level": "ERROR", "message": "x"}'),
            (["an ERRORLESS line"], ""),
        ],
    )  # fmt: skip
    def test_what_the_last_lines_say(self, events: list[str], error: str) -> None:
        lines = OtherLines()
        for event in events:
            lines.is_new(event)

        assert lines.error == error

    def test_lines_that_are_there_twice_say_it_too(self) -> None:
        lines = OtherLines()
        lines.is_ours_new("fails at 1")
        lines.is_new(theirs("fails at 1", "ERROR"))

        assert lines.error


def test_another_process_goes_on_from_a_position() -> None:
    lines = OtherLines()
    lines.is_ours_new("x")
    lines.is_new(theirs("x", "ERROR"))

    later = OtherLines(json.loads(json.dumps(lines.position())))

    assert (later.count, later.repeated, later.error) == (1, 1, theirs("x", "ERROR"))
