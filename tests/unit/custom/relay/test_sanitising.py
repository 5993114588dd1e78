"""From events to task-log records: whole, in order, once each, and harmless."""

import pytest

from custom.relay import sanitising
from custom.relay.sanitising import sanitised


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
    shown = sanitised("x" * (sanitising.MAX_LINE_CHARS + 1_234))

    assert shown == "x" * sanitising.MAX_LINE_CHARS + " … [cut: 1,234 more characters in the log stream]"


def test_a_terminal_sequence_without_an_end_takes_no_more_than_its_line() -> None:
    assert sanitised("\x1b]oops\nTraceback: the reason") == "\nTraceback: the reason"
