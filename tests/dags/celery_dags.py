"""What depends on workers of Celery."""

import os
import socket
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import DAG, get_current_context, task

BUCKET = "airflow-lambda-logs"


def worker() -> str:
    """What tells one worker from another: its container, on the local engine its temporary folder."""
    return f"{socket.gethostname()} {tempfile.gettempdir()}"


with DAG("test-celery-shares", schedule=None, is_paused_upon_creation=False, max_active_tasks=256):

    @task(retries=1, retry_delay=timedelta(0))
    def work(number: int) -> str:
        """Say that it has started, take some time, and return who has run it."""
        context = get_current_context()
        conf = context["dag_run"].conf or {}
        folder = f"test-executor/{context['run_id']}/started/{number}"
        S3Hook().load_string("", f"{folder}/{context['ti'].try_number}-{time.time_ns()}", BUCKET)
        time.sleep(conf.get("seconds", 2))
        return worker()

    @task
    def numbers() -> list[int]:
        """Return a number for each task."""
        conf: dict[str, Any] = get_current_context()["dag_run"].conf or {}
        return list(range(conf.get("tasks", 16)))

    work.expand(number=numbers())

with DAG("test-celery-heavy", schedule=None, is_paused_upon_creation=False):

    @task(queue="heavy")
    def heavy() -> str:
        """Return who has run it."""
        return worker()

    heavy()

# With it, the executor `local` is there, too.
if "SHARED_FOLDER" in os.environ:
    with DAG("test-celery-shared-folder", schedule=None, is_paused_upon_creation=False):

        def append(path: Path, text: str) -> list[str]:
            """Add a text to a file; return who has done it, and the whole file."""
            with path.open("a") as file:
                file.write(text)
            return [worker(), path.read_text()]

        @task
        def begin(run_id: str | None = None) -> list[str]:
            """Make a file on a worker."""
            return append(Path(os.environ["SHARED_FOLDER"], f"{run_id}.txt"), "worker,")

        @task(queue="heavy")
        def go_on(run_id: str | None = None) -> list[str]:
            """Go on with it on another worker."""
            return append(Path(os.environ["SHARED_FOLDER"], f"{run_id}.txt"), "heavy,")

        @task(executor="local")
        def end(run_id: str | None = None) -> list[str]:
            """End it in the scheduler."""
            return append(Path(os.environ["SHARED_FOLDER"], f"{run_id}.txt"), "local")

        begin() >> go_on() >> end()
