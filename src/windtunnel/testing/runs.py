"""DAG runs and their tasks, as a test looks at them."""

from typing import TYPE_CHECKING, Any

from airflow_client.client import DAGRunResponse, TaskInstanceResponse

from windtunnel.airflow_api.task_log import LogRecord
from windtunnel.waiting import wait_until

if TYPE_CHECKING:
    from windtunnel.testing.stack import RunningStack

__tracebackhide__ = True  # pytest shows the test's line that failed, and not the way through here

# Seconds that a run, and a log on its way to S3, may take, unless a test says otherwise.
RUN_TIMEOUT = 300.0
UPLOAD_TIMEOUT = 30.0


def log_key(dag_id: str, run_id: str, task_id: str, map_index: int, try_number: int) -> str:
    """Return where the log of a try is, in the bucket and below Airflow's log folder, by Airflow's template.

    :param map_index: -1 for a task that is not mapped.
    """
    index = f"map_index={map_index}/" if map_index >= 0 else ""
    return f"dag_id={dag_id}/run_id={run_id}/task_id={task_id}/{index}attempt={try_number}.log"


class TaskInstance:
    """One task of a run, in its latest try."""

    def __init__(self, stack: "RunningStack", run: DAGRunResponse, task: TaskInstanceResponse) -> None:
        """Take what the API has answered."""
        self._stack = stack
        self._run = run
        self.task_id: str = task.task_id
        self.map_index: int = task.map_index
        self.try_number: int = task.try_number
        self.state: str = task.state.value if task.state else "none"
        # Seconds; None for a task that did not run.
        self.duration: float | None = task.duration

    def __repr__(self) -> str:
        """Return id, map index and state, for assertions that fail."""
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"<TaskInstance {self.task_id}{index} {self.state}>"

    def xcom(self, key: str = "return_value") -> Any:
        """Return a value that the task has pushed: its result, unless another key is named.

        Of one that an XCom backend keeps elsewhere this is the address.

        :raises windtunnel.AirflowApiError: if there is none.
        """
        return self._stack.airflow.xcom(self._run, self.task_id, key, self.map_index)

    def log_records(self, try_number: int | None = None) -> list[LogRecord]:
        """Return the log of a try, the latest if None, as the web page shows it."""
        number = self.try_number if try_number is None else try_number
        return self._stack.airflow.task_log(self._run, self.task_id, number, self.map_index).records

    def log(self, try_number: int | None = None) -> str:
        """Return the log of a try, the latest if None, as text with its exceptions."""
        return "\n".join(line for record in self.log_records(try_number) for line in record.lines())

    def s3_log(self, try_number: int | None = None) -> str:
        """Return the object in S3 that holds the log of a try, the latest if None, as it is: lines of JSON.

        Airflow uploads it after the task has ended, so this waits for it.

        :raises windtunnel.WaitTimeout: if it does not come.
        """
        number = self.try_number if try_number is None else try_number
        key = log_key(self._run.dag_id, self._run.dag_run_id, self.task_id, self.map_index, number)
        bucket, s3 = self._stack.log_bucket, self._stack.aws("s3")

        def body() -> str:
            return str(s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode())

        not_yet = (s3.exceptions.NoSuchKey,)
        return wait_until(f"s3://{bucket}/{key}", body, timeout=UPLOAD_TIMEOUT, retry_on=not_yet)


class DagRun:
    """A run as it was at the last look: at its end, unless it was only triggered."""

    def __init__(self, stack: "RunningStack", run: DAGRunResponse) -> None:
        """Take what the API has answered."""
        self._stack = stack
        self._run = run
        self.dag_id: str = run.dag_id
        self.run_id: str = run.dag_run_id

    @property
    def state(self) -> str:
        """``success`` or ``failed``; ``queued`` or ``running`` before the end."""
        return str(self._run.state.value)

    @property
    def duration(self) -> float | None:
        """Seconds; None before the end."""
        return self._run.duration

    def wait(self, timeout: float = RUN_TIMEOUT) -> "DagRun":
        """Wait until the run has succeeded or failed, and return it.

        :param timeout: seconds.
        :raises windtunnel.WaitTimeout: if it takes longer.
        """
        self._run = self._stack.airflow.wait(self._run, timeout)
        return self

    def __repr__(self) -> str:
        """Return DAG, run and state, and why it failed if it did."""
        why = "\n".join(["", *self.failures()]) if self.state == "failed" else ""
        return f"<DagRun {self.dag_id} {self.run_id} {self.state}>{why}"

    @property
    def tasks(self) -> list[TaskInstance]:
        """Every task instance, as it is now."""
        found = self._stack.airflow.task_instances(self._run)
        return [TaskInstance(self._stack, self._run, task) for task in found]

    def task(self, task_id: str, map_index: int = -1) -> TaskInstance:
        """Return one of the task instances.

        :param map_index: -1 for a task that is not mapped.
        :raises KeyError: naming all that there are.
        """
        tasks = self.tasks
        for task in tasks:
            if (task.task_id, task.map_index) == (task_id, map_index):
                return task
        raise KeyError(f"{task_id!r}, map index {map_index}; there are {tasks}")

    def failures(self) -> list[str]:
        """Return why the run failed: the last lines of each failed task's log, and the scheduler's notes."""
        return self._stack.airflow.failures(self._run)
