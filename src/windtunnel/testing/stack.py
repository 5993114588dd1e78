"""What a test does with a running stack: run DAGs, look at tasks and their logs, reach the emulated AWS.

The fixtures of ``windtunnel.pytest_plugin`` hand these out.
"""

import configparser
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import botocore.session
from airflow_client.client.models.dag_run_response import DAGRunResponse
from airflow_client.client.models.task_instance_response import TaskInstanceResponse

from windtunnel.airflow_api.client import (
    AirflowApiError,
    AirflowClient,
    LogRecord,
    NotThere,
    UnknownDag,
    check_connection_fields,
)
from windtunnel.seeding.functions import load_functions
from windtunnel.stack.base import Stack, ignore
from windtunnel.stack.errors import StackError
from windtunnel.testing.function_stubs import Functions, Stub
from windtunnel.waiting import WaitTimeout, wait_until

# Pytest shows the test's line that failed, and not the way through here.
__tracebackhide__ = True

# So long a run may take, and a log on its way to S3, in seconds, where a test does not say otherwise.
RUN_TIMEOUT = 300.0
UPLOAD_TIMEOUT = 30.0
# And so long a saved DAG file to be parsed: by the page and the scheduler it is known within 2 s.
PARSE_TIMEOUT = 10.0


def log_key(dag_id: str, run_id: str, task_id: str, map_index: int, try_number: int) -> str:
    """Where the log of a try lies, in the bucket and below Airflow's log folder, by Airflow's own template.

    :param map_index: -1 for a task that is not mapped.
    """
    index = f"map_index={map_index}/" if map_index >= 0 else ""
    return f"dag_id={dag_id}/run_id={run_id}/task_id={task_id}/{index}attempt={try_number}.log"


class TaskInstance:
    """One task of a run, in its latest try."""

    def __init__(self, stack: "RunningStack", run: DAGRunResponse, task: TaskInstanceResponse) -> None:
        """Take what the API has answered.

        :param run: the run that it belongs to.
        """
        self._stack = stack
        self._run = run
        self.task_id: str = task.task_id
        self.map_index: int = task.map_index
        self.try_number: int = task.try_number
        self.state: str = task.state.value if task.state else "none"
        # Seconds; None for one that did not run.
        self.duration: float | None = task.duration

    def __repr__(self) -> str:
        """Id, map index and state, for assertions that fail."""
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"<TaskInstance {self.task_id}{index} {self.state}>"

    def xcom(self, key: str = "return_value") -> Any:
        """A value that the task has pushed; its result where no key is named.

        :raises windtunnel.airflow_api.client.AirflowApiError: when there is none.
        """
        return self._stack.airflow.xcom(self._run, self.task_id, key, self.map_index)

    def log_records(self, try_number: int | None = None) -> list[LogRecord]:
        """The task's log as the web page shows it; that of the latest try where none is named."""
        number = self.try_number if try_number is None else try_number
        return self._stack.airflow.task_log(self._run, self.task_id, number, self.map_index).records

    def log(self, try_number: int | None = None) -> str:
        """The same as text, exceptions included."""
        return "\n".join(line for record in self.log_records(try_number) for line in record.lines())

    def s3_log(self, try_number: int | None = None) -> str:
        """The object in S3 that holds the log of a try, as it is: lines of JSON.

        Airflow uploads it once the task has ended, so it is waited for.

        :raises windtunnel.waiting.WaitTimeout: when it does not come.
        """
        number = self.try_number if try_number is None else try_number
        key = log_key(self._run.dag_id, self._run.dag_run_id, self.task_id, self.map_index, number)
        bucket, s3 = self._stack.log_bucket, self._stack.aws("s3")

        def body() -> str:
            return str(s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode())

        retry_on = (s3.exceptions.NoSuchKey,)
        return wait_until(f"s3://{bucket}/{key}", body, timeout=UPLOAD_TIMEOUT, retry_on=retry_on)


class DagRun:
    """A run, as it was when it was last looked at: at its end, unless it was only triggered."""

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
        """Wait for its end, good or bad; the run itself.

        :param timeout: seconds.
        :raises windtunnel.waiting.WaitTimeout: when it takes longer.
        """
        self._run = self._stack.airflow.wait(self._run, timeout)
        return self

    def __repr__(self) -> str:
        """DAG, run and state; for a failed one also why it has failed."""
        why = "\n".join(["", *self.failures()]) if self.state == "failed" else ""
        return f"<DagRun {self.dag_id} {self.run_id} {self.state}>{why}"

    @property
    def tasks(self) -> list[TaskInstance]:
        """Every task instance, as it is now."""
        found = self._stack.airflow.task_instances(self._run)
        return [TaskInstance(self._stack, self._run, task) for task in found]

    def task(self, task_id: str, map_index: int = -1) -> TaskInstance:
        """One of them.

        :raises KeyError: naming those that there are.
        """
        tasks = self.tasks
        for task in tasks:
            if (task.task_id, task.map_index) == (task_id, map_index):
                return task
        raise KeyError(f"{task_id!r}, map index {map_index}; there are {tasks}")

    def failures(self) -> list[str]:
        """Why it has failed: of each failed task the last lines of its log, and what the scheduler noted."""
        return self._stack.airflow.failures(self._run)


def _modified(path: Path) -> float:
    """When a file was saved, in seconds since the epoch; 0 where it is gone."""
    return path.stat().st_mtime if path.exists() else 0.0


class RunningStack:
    """A running stack."""

    def __init__(self, stack: Stack) -> None:
        """Ask nothing yet.

        :param engine: of the stack.
        """
        self.stack = stack
        # Every run that was started through this, the latest last.
        self.runs: list[DAGRunResponse] = []
        self._clients: dict[tuple[str, str], Any] = {}

    @cached_property
    def airflow(self) -> AirflowClient:
        """Airflow's API, as the administrator."""
        return AirflowClient.of(self.stack)

    @cached_property
    def _variables(self) -> dict[str, str]:
        return dict(self.stack.variables("scheduler"))

    @cached_property
    def log_bucket(self) -> str:
        """The bucket of the task logs."""
        settings = configparser.ConfigParser(interpolation=None)
        settings.read(self.stack.settings.folder("CONFIG_FOLDER") / "airflow.cfg")
        folder = self._variables.get(
            "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER", settings["logging"]["remote_base_log_folder"]
        )
        return folder.removeprefix("s3://").partition("/")[0]

    @cached_property
    def _session(self) -> boto3.session.Session:
        return boto3.session.Session(
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - the emulator takes any
            region_name=self._variables["AWS_DEFAULT_REGION"],
            # Without AWS_PROFILE, which may name one that is not there.
            botocore_session=botocore.session.Session(session_vars={"profile": (None, [], None, None)}),
        )

    def aws(self, service: str) -> Any:
        """A boto3 client for a service of the emulated AWS, whatever this machine's own settings are.

        The same one each time, as long as the emulator has the same port: to make one takes 0.1 s.

        :param service: as boto3 names it: ``s3``.
        """
        endpoint = self.stack.address("localstack")
        if (service, endpoint) not in self._clients:
            # Nor by a proxy, which this machine may have for the rest of the world.
            direct = botocore.config.Config(proxies={})
            client = self._session.client(service, endpoint_url=endpoint, config=direct)
            self._clients[service, endpoint] = client
        return self._clients[service, endpoint]

    def run_dag(
        self,
        dag_id: str,
        conf: dict[str, Any] | None = None,
        *,
        logical_date: datetime | None = None,
        timeout: float = RUN_TIMEOUT,
    ) -> DagRun:
        """Run a DAG and wait for its end, good or bad.

        :param conf: the run's configuration.
        :param logical_date: with its time zone; without one templates have no ``ds``.
        :param timeout: seconds.
        :raises windtunnel.airflow_api.client.UnknownDag: when there is no such DAG.
        :raises windtunnel.waiting.WaitTimeout: when it takes longer.
        """
        return self.trigger_dag(dag_id, conf, logical_date=logical_date).wait(timeout)

    def trigger_dag(
        self, dag_id: str, conf: dict[str, Any] | None = None, *, logical_date: datetime | None = None
    ) -> DagRun:
        """Start a run of a DAG and do not wait: its ``wait`` does.

        :param conf: the run's configuration.
        :param logical_date: with its time zone; without one templates have no ``ds``.
        :raises windtunnel.airflow_api.client.UnknownDag: when there is no such DAG.
        """
        try:
            run = self.airflow.trigger(dag_id, conf, logical_date=logical_date)
        except UnknownDag:
            there = ", ".join(sorted(dag.dag_id for dag in self.airflow.dags()))
            raise UnknownDag(f"there is no DAG {dag_id}; there are: {there or 'none'}") from None
        self.runs.append(run)
        return DagRun(self, run)

    @contextmanager
    def connection(self, connection_id: str, conn_type: str, **fields: Any) -> Iterator[None]:
        """A connection of Airflow's during the block, in place of any other of that id.

        :param fields: as Airflow names them: ``host``, ``login``, ``password``, ``extra``, a dict, and so on.
        :raises TypeError: for a field that connections do not have.
        """
        check_connection_fields(fields)
        there = self.airflow.connection(connection_id) is not None
        with self._put_back("connection", connection_id, there):
            self.airflow.add_connection(connection_id, conn_type, **fields)
            try:
                yield
            finally:
                with suppress(NotThere):
                    self.airflow.delete_connection(connection_id)

    @contextmanager
    def variable(self, key: str, value: Any) -> Iterator[None]:
        """A variable of Airflow's during the block, in place of any other of that key.

        :param value: a text, or what becomes JSON.
        """
        with self._put_back("variable", key, self.airflow.variable(key) is not None):
            self.airflow.add_variable(key, value)
            try:
                yield
            finally:
                # A task may have deleted it.
                with suppress(NotThere):
                    self.airflow.delete_variable(key)

    @contextmanager
    def _put_back(self, table: str, name: str, there: bool) -> Iterator[None]:
        """Of a table's rows one is away during the block, if it is there at all."""
        row = self.stack.ask("scheduler", "take", table, name) if there else None
        try:
            yield
        finally:
            if row:
                self.stack.ask("scheduler", "put", table, row)

    @contextmanager
    def pool(self, name: str, slots: int) -> Iterator[None]:
        """A pool of Airflow's during the block; one of that name has so many slots."""
        before = self.airflow.pool(name)
        if before:
            self.airflow.resize_pool(before, slots)
        else:
            self.airflow.add_pool(name, slots)
        try:
            yield
        finally:
            if before:
                self.airflow.resize_pool(before, before.slots)
            else:
                self.airflow.delete_pool(name)

    @contextmanager
    def paused(self, dag_id: str) -> Iterator[None]:
        """A DAG is paused during the block."""
        with self._pause_undone(dag_id):
            self.airflow.pause(dag_id)
            yield

    @contextmanager
    def unpaused(self, dag_id: str) -> Iterator[None]:
        """A DAG that is paused is not during the block."""
        with self._pause_undone(dag_id):
            self.airflow.unpause(dag_id)
            yield

    @contextmanager
    def _pause_undone(self, dag_id: str) -> Iterator[None]:
        was_paused = any(dag.is_paused for dag in self.airflow.dags() if dag.dag_id == dag_id)
        try:
            yield
        finally:
            (self.airflow.pause if was_paused else self.airflow.unpause)(dag_id)

    # Files that are saved while the stack runs

    def wait_for_saved_files(self) -> None:
        """Wait until functions and DAGs are what their files say, which takes a moment after a save.

        A DAG file that is new and of which no DAG comes is waited for in vain, for ``PARSE_TIMEOUT``.

        :raises windtunnel.seeding.validation.SeedingError: naming what is wrong with a function's folder.
        :raises windtunnel.stack.errors.StackError: when a function cannot be deployed, with the reason.
        """
        functions = load_functions(self.stack.settings.folder("LAMBDAS_FOLDER"))
        if outdated := self._functions.outdated(functions):
            command = ("python", "-m", "windtunnel.seeding", *outdated)
            next_step = "Correct the file."
            self.stack.run_in("localstack", *command, on_line=ignore, what="deploying", next_step=next_step)
        with suppress(WaitTimeout):
            what = "the saved DAGs to be parsed"
            wait_until(what, self._are_dags_parsed, timeout=PARSE_TIMEOUT, retry_on=(AirflowApiError,))

    def require_no_import_errors(self) -> None:
        """Every DAG file can be imported.

        :raises windtunnel.stack.errors.StackError: naming those that cannot.
        """
        if errors := self.airflow.import_error_lines():
            raise StackError("DAG files with import errors:", "\n".join(errors), "Correct the file.")

    def _are_dags_parsed(self) -> bool:
        folder = self.stack.settings.folder("DAGS_FOLDER")
        recent = time.time() - PARSE_TIMEOUT
        files = {str(path.relative_to(folder)): _modified(path) for path in folder.rglob("*.py")}
        awaited = {file: saved for file, saved in files.items() if saved > recent}
        if not awaited:
            return True
        parsed = {dag.relative_fileloc: dag.last_parsed_time for dag in self.airflow.dags()}
        parsed |= {error.filename: error.timestamp for error in self.airflow.import_errors()}
        times = [(parsed.get(file), saved) for file, saved in awaited.items()]
        return all(when is not None and when.timestamp() > saved for when, saved in times)

    # Functions

    @cached_property
    def _functions(self) -> Functions:
        return Functions(self.stack, self.aws("lambda"))

    @contextmanager
    def deploy_function(self, folder: Path | str) -> Iterator[str]:
        """A Lambda function is there during the block, in place of any other of its name; its name.

        :param folder: as those in ``lambdas/``: ``lambda_function.py``, and ``function.json`` where wanted.
        :raises windtunnel.seeding.validation.SeedingError: saying what is wrong with the folder.
        """
        with self._functions.deployed(Path(folder)) as name:
            yield name

    @contextmanager
    def stub_function(
        self, name: str, returns: Any = None, *, raises: Exception | None = None
    ) -> Iterator[Stub]:
        """A Lambda function answers what the test says, during the block; what it was asked.

        :param returns: what it answers, as JSON.
        :param raises: what it fails with instead; only its class's name and its message go over.
        :raises windtunnel.testing.function_stubs.FunctionError: when there is no such function.
        """
        with self._functions.stubbed(name, returns, raises) as mark:
            yield Stub(self.aws("logs"), name, mark)
