"""From events to task-log records: whole, in order, once each, and harmless."""

import io
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from custom.relay.writing import MAX_LINE_CHARS, Line, sanitised, task_log_writer


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
    shown = sanitised("x" * (MAX_LINE_CHARS + 1_234))

    assert shown == "x" * MAX_LINE_CHARS + " … [cut: 1,234 more characters in the log stream]"


def test_a_terminal_sequence_without_an_end_takes_no_more_than_its_line() -> None:
    assert sanitised("\x1b]oops\nTraceback: the reason") == "\nTraceback: the reason"


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
