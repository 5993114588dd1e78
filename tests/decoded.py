"""Reading a function's stream back."""

from collections.abc import Iterable

from airflow_relay.contract import Event, decode


def decode_lines(messages: Iterable[str]) -> list[str]:
    """Return the lines a function logged, from the messages of its stream: whole, in order, once each.

    Pieces of a long line are joined, repeated events dropped, the end marker and foreign events left out.
    """
    events = {
        event.number: event for event in (decode(message) for message in messages) if isinstance(event, Event)
    }
    lines: list[str] = []
    for event in events.values():
        if event.part > 1 and lines:
            lines[-1] += event.text
        else:
            lines.append(event.text)
    return lines
