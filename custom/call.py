"""A synchronous invocation that runs in a thread, so that its log stream can be read meanwhile."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

from custom.errors import LambdaAbandoned

if TYPE_CHECKING:
    from custom.hooks.lambda_function import Answer


class Call:
    """One invocation under way."""

    def __init__(self, invoke: "Callable[..., Answer]", *arguments: Any, **options: Any) -> None:
        """Start it; ``invoke`` is the hook's ``invoke_once``."""
        self.requested_at = time.monotonic()
        self.may_run = False
        """The function may be running: a request was sent and not refused."""
        self._stop = threading.Event()
        self.answer: Future[Answer] = Future()
        """Lambda's answer, or what the invocation has raised."""
        options |= {"pause": self._pause, "on_request": self._on_request}

        def run() -> None:
            try:
                self.answer.set_result(invoke(*arguments, **options))
            except BaseException as error:
                self.answer.set_exception(error)

        # A daemon: unlike an executor's thread it does not keep a killed task alive.
        threading.Thread(target=run, name="lambda-invoke", daemon=True).start()

    def _pause(self, seconds: float) -> None:
        self.may_run = False
        if self._stop.wait(seconds):
            raise LambdaAbandoned("stopped before the function was started")

    def _on_request(self) -> None:
        self.may_run, self.requested_at = True, time.monotonic()

    def is_done(self, seconds: float, check: Callable[[], None]) -> bool:
        """Wait for so many seconds; say whether the answer is there. ``check`` may raise meanwhile."""
        deadline = time.monotonic() + seconds
        while not self.answer.done() and (left := deadline - time.monotonic()) > 0:
            check()
            # Airflow kills a task that has not stopped 5 s after it was asked to.
            wait([self.answer], timeout=min(left, 1))
        return self.answer.done()

    def abandon(self) -> None:
        """Send no further request; one that was sent cannot be recalled."""
        self._stop.set()
