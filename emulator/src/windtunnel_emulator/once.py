"""What is made once in LocalStack's process, whose calls come in many threads at a time."""

import threading
from collections.abc import Callable
from functools import cache, wraps


def once[*A, T](make: Callable[[*A], T]) -> Callable[[*A], T]:
    """Keep what a function returns, by its arguments, and never run it twice at once.

    `functools.cache` alone lets every thread that comes before the first result make one of its own.

    :param make: takes hashable arguments; if it raises, the next call tries again
    """
    lock = threading.Lock()
    kept = cache(make)

    @wraps(make)
    def locked(*args: *A) -> T:
        with lock:
            return kept(*args)

    return locked
