"""What is made once, however many threads come first."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from windtunnel_emulator.once import once

THREADS = 20


def test_threads_that_come_at_once_share_one() -> None:
    together = threading.Barrier(THREADS)
    made = []

    @once
    def make() -> object:
        made.append(object())
        threading.Event().wait(0.05)  # time enough for the others to come
        return made[-1]

    def come(_: int) -> object:
        together.wait(timeout=10)
        return make()

    with ThreadPoolExecutor(THREADS) as pool:
        got = set(pool.map(come, range(THREADS)))
    assert got == set(made)
    assert len(made) == 1


def test_one_for_each_argument() -> None:
    @once
    def make(name: str) -> list[str]:
        return [name]

    assert make("a") is make("a")
    assert make("b") == ["b"]


def test_a_failure_is_not_kept() -> None:
    numbers: list[int] = []

    @once
    def first() -> int:
        return numbers[0]

    with pytest.raises(IndexError):
        first()
    numbers.append(1)
    assert first() == 1
