"""Makes a function's text fit for a task log. The text is not ours to trust."""

import re

# A line longer than this is cut: the log page lays out a line at once, and one of 1 MB stalls the browser.
MAX_LINE_CHARS = 65_536

# Terminal sequences: CSI (colours, cursor), OSC (titles, links) and the two-character ones.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\r\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
# Control characters but tab and line feed, and the two separators that browsers break lines at.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
# Airflow's log page folds lines between these; text from a function must not fold the page.
_GROUP_MARKER = re.compile(r"::(?=(?:end)?group::)")


def sanitised(text: str) -> str:
    """Return a function's text as it may stand in a task log.

    A function's text is not ours to trust: terminal sequences are removed, control characters shown as
    escapes, line ends made ``\\n``, Airflow's group markers broken, and long lines cut with a note.
    """
    note = ""
    if len(text) > MAX_LINE_CHARS:
        note = f" … [cut: {len(text) - MAX_LINE_CHARS:,} more characters in the log stream]"
        text = text[:MAX_LINE_CHARS]
    text = _ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    text = _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)
    text = _GROUP_MARKER.sub(": :", text)
    return text.encode("utf-8", errors="replace").decode() + note
