import time
from collections.abc import Callable

import pytest

from windtunnel.waiting import WaitTimeout, wait_until


def answers(*values: object) -> Callable[[], object]:
    left = iter(values)

    def probe() -> object:
        value = next(left)
        if isinstance(value, Exception):
            raise value
        return value

    return probe


def test_returns_the_first_true_answer() -> None:
    assert wait_until("it", answers(None, 0, [], "here", "later"), timeout=5, interval=0) == "here"


def test_an_error_that_the_caller_lists_counts_as_not_yet() -> None:
    probe = answers(ConnectionRefusedError("refused"), "here")

    assert wait_until("it", probe, timeout=5, interval=0, retry_on=(ConnectionError,)) == "here"


@pytest.mark.parametrize("retry_on", [(), (ConnectionError,)])
def test_any_other_error_ends_the_wait_at_once(retry_on: tuple[type[Exception], ...]) -> None:
    with pytest.raises(NameError, match="misspelt"):
        wait_until("it", answers(NameError("misspelt"), "here"), timeout=5, interval=0, retry_on=retry_on)


def test_says_what_how_long_the_last_answer_and_where_to_look() -> None:
    with pytest.raises(WaitTimeout) as caught:
        wait_until("the run to end", lambda: [], timeout=0.01, interval=0.001, hint="See the log.")

    assert str(caught.value) == "waited 0.01 s for the run to end. Last answer: []. See the log."


def test_says_the_last_error_and_keeps_it_as_the_cause() -> None:
    error = ConnectionError("refused")

    def probe() -> None:
        raise error

    with pytest.raises(WaitTimeout, match="Last error: ConnectionError: refused") as caught:
        wait_until("it", probe, timeout=0.01, interval=0.001, retry_on=(ConnectionError,))

    assert caught.value.__cause__ is error


def test_asks_at_least_once_and_does_not_outstay_its_time() -> None:
    calls = []
    start = time.monotonic()

    with pytest.raises(WaitTimeout):
        wait_until("it", lambda: calls.append(1), timeout=0.05, interval=60)

    assert calls == [1]
    assert time.monotonic() - start < 10


def test_a_probe_that_only_raises_ends_the_wait_when_patience_does() -> None:
    def probe() -> None:
        raise ConnectionError("refused")

    with pytest.raises(WaitTimeout, match="ConnectionError: refused"):
        wait_until(
            "an answer", probe, timeout=3600, interval=0.01, retry_on=(ConnectionError,), patience=0.05
        )
