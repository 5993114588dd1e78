"""What depends on the executor that runs tasks."""

import os
import time
from datetime import timedelta
from typing import Any

from airflow.configuration import conf
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseOperator, Context, get_current_context, task

BUCKET = "airflow-lambda-logs"


def started(run_id: str, name: str) -> str:
    """The prefix of the objects that a task of a run leaves, one for each of its starts."""
    return f"test-executor/{run_id}/started/{name}/"


def released(run_id: str) -> str:
    """The object that lets the waiting tasks of a run end."""
    return f"test-executor/{run_id}/released"


# Only an overlay gives the stack a second executor.
OTHER = "local" if "local:" in conf.get("core", "executor") else None

with DAG("test-executor", schedule=None, is_paused_upon_creation=False):

    @task
    def where(variable: str) -> dict[str, Any]:
        """Say what the process sees of its surroundings."""
        seen = {"parent": os.getppid(), "variable": os.environ.get(variable)}
        return seen | {
            "secrets": os.environ.get("SECRETS_FOLDER"),
            "database": os.environ.get("POSTGRES_ADDRESS"),
        }

    @task
    def add(seen: list[dict[str, Any]]) -> list[Any]:
        """Take what all have returned, whoever ran them."""
        return [one["variable"] for one in seen]

    @task(retries=1, retry_delay=timedelta(0))
    def fail_once() -> int:
        """Fail at the first try."""
        number = get_current_context()["ti"].try_number
        if number == 1:
            raise ValueError("the first try fails")
        return int(number)

    seen = [where("HOME"), where.override(task_id="elsewhere", executor=OTHER)("HOME")]
    add(seen)  # type: ignore[arg-type]
    fail_once()

with DAG("test-executor-fails", schedule=None, is_paused_upon_creation=False):

    @task
    def fail() -> None:
        """Fail."""
        raise ValueError("this task fails")

    fail()


with DAG("test-executor-tells", schedule=None, is_paused_upon_creation=False):

    @task(retries=1, retry_delay=timedelta(0))
    def tell(number: int) -> None:
        """Tell who it is, and fail at the first try of number 1."""
        try_number = get_current_context()["ti"].try_number
        print(f"this is try {try_number} of number {number}")  # noqa: T201
        if (number, try_number) == (1, 1):
            raise ValueError("the first try fails")

    tell.expand(number=[0, 1])
    tell.override(task_id="elsewhere", executor=OTHER)(2)


class Defers(BaseOperator):
    """Defers for no time: its trigger fires before an executor that looks now and then has seen it go."""

    def execute(self, context: Context) -> None:
        """Defer."""
        self.defer(trigger=TimeDeltaTrigger(timedelta(0)), method_name="go_on")

    def go_on(self, context: Context, event: Any) -> str:
        """Return something."""
        return "went on"


with DAG("test-executor-defers", schedule=None, is_paused_upon_creation=False, max_active_tasks=32):
    for number in range(12):
        Defers(task_id=f"defers_{number}")

with DAG("test-executor-waits", schedule=None, is_paused_upon_creation=False, max_active_tasks=32):

    @task(retries=1, retry_delay=timedelta(0))
    def wait(number: int) -> int:
        """Say that it has started, and wait until the run is released."""
        context = get_current_context()
        run_id, hook = str(context["run_id"]), S3Hook()
        key = f"{started(run_id, str(number))}{context['ti'].try_number}-{time.time_ns()}"
        hook.load_string("", key, BUCKET)
        while not hook.check_for_key(released(run_id), BUCKET):
            time.sleep(0.2)
        return number

    wait.expand(number=list(range(10)))

with DAG("test-executor-many", schedule=None, is_paused_upon_creation=False, max_active_tasks=128):

    @task
    def count(number: int) -> int:
        """Say that it has started."""
        context = get_current_context()
        key = f"{started(str(context['run_id']), str(number))}{time.time_ns()}"
        S3Hook().load_string("", key, BUCKET)
        return number

    count.expand(number=list(range(100)))
