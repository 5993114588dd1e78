"""A task leaves a file for a task on another worker: the overlay `celery` (`docs/celery.md`).

Start a worker of the queue `heavy` first: `./windtunnel scale heavy-worker=1`. On AWS the folder is on EFS.
"""

import csv
import os
from pathlib import Path

from airflow.configuration import conf
from airflow.sdk import DAG, task, teardown

ROWS = 1000


# Without workers there is nothing to share.
if "celery:" in conf.get("core", "executor"):
    with DAG("example-shared-folder", schedule=None, doc_md=__doc__, tags=["example"]):

        @task
        def write(run_id: str | None = None) -> str:
            """Write a table, on any worker, and return where it is: each run has a file of its own."""
            path = Path(os.environ["SHARED_FOLDER"], f"{run_id}.csv")
            with path.open("w", newline="") as file:
                csv.writer(file).writerows((number, number**2) for number in range(ROWS))
            return str(path)

        @task(queue="heavy")
        def add_up(path: str) -> int:
            """Read the table, on a worker of its own."""
            with Path(path).open(newline="") as file:
                return sum(int(square) for _, square in csv.reader(file))

        @teardown
        def remove(path: str) -> None:
            """Remove the table, whatever became of the run: nobody else does."""
            Path(path).unlink(missing_ok=True)

        table = write()
        add_up(table) >> remove(table)  # type: ignore[arg-type]
