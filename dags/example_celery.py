"""Tasks that fan out over workers, and one for a worker of its own: the overlay `celery` (`docs/celery.md`).

Start a worker of the queue `heavy` first: `./windtunnel scale heavy-worker=1`. Without the overlay, all of it
runs in the scheduler.
"""

import logging
import socket
import time

from airflow.sdk import DAG, Param, task

log = logging.getLogger(__name__)

# Each task of the fan takes so many seconds.
SECONDS = 2

PARAMS = {"tasks": Param(12, type="integer", minimum=1, maximum=1000)}

with DAG("example-celery", schedule=None, params=PARAMS, doc_md=__doc__, tags=["example"]):

    @task
    def inputs(params: dict[str, int] | None = None) -> list[int]:
        """Return a number for each task of the fan."""
        return list(range((params or {})["tasks"]))

    @task
    def square(number: int) -> int:
        """Take some time, on whichever worker has a free slot."""
        log.info("%d on %s", number, socket.gethostname())
        time.sleep(SECONDS)
        return number**2

    @task(queue="heavy")
    def add_up(squares: list[int]) -> int:
        """Take all results, on a worker of its own: one at a time, as something large would be."""
        return sum(squares)

    add_up(square.expand(number=inputs()))  # type: ignore[arg-type]
