"""What the command line and the suite need of Airflow's REST API, on top of Airflow's own client package."""

import json
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import urllib3
from airflow_client.client import ApiClient, Configuration
from airflow_client.client.api.connection_api import ConnectionApi
from airflow_client.client.api.dag_api import DAGApi
from airflow_client.client.api.dag_run_api import DagRunApi
from airflow_client.client.api.event_log_api import EventLogApi
from airflow_client.client.api.import_error_api import ImportErrorApi
from airflow_client.client.api.monitor_api import MonitorApi
from airflow_client.client.api.pool_api import PoolApi
from airflow_client.client.api.task_instance_api import TaskInstanceApi
from airflow_client.client.api.variable_api import VariableApi
from airflow_client.client.api.x_com_api import XComApi
from airflow_client.client.exceptions import ApiException, NotFoundException
from airflow_client.client.models.clear_task_instances_body import ClearTaskInstancesBody
from airflow_client.client.models.connection_body import ConnectionBody
from airflow_client.client.models.dag_patch_body import DAGPatchBody
from airflow_client.client.models.dag_response import DAGResponse
from airflow_client.client.models.dag_run_response import DAGRunResponse
from airflow_client.client.models.health_info_response import HealthInfoResponse
from airflow_client.client.models.import_error_response import ImportErrorResponse
from airflow_client.client.models.pool_body import PoolBody
from airflow_client.client.models.pool_patch_body import PoolPatchBody
from airflow_client.client.models.pool_response import PoolResponse
from airflow_client.client.models.task_instance_response import TaskInstanceResponse
from airflow_client.client.models.trigger_dag_run_post_body import TriggerDAGRunPostBody
from airflow_client.client.models.variable_body import VariableBody

from windtunnel.stack.base import Stack
from windtunnel.waiting import WaitTimeout, wait_until

# Pytest shows the test's line that failed, and not the way through here.
__tracebackhide__ = True

# Between two looks at a run, in seconds.
INTERVAL = 0.2

# For one answer of the API, in seconds; generous, because a full machine starts slowly.
REQUEST_TIMEOUT = 30.0

# So many lines of a failed task's log are named, the last ones.
TELLING_LINES = 10

# The states in which a run stays.
FINISHED = frozenset({"success", "failed"})

# The lines between which a task log says where it was read from.
SOURCES_BEGIN = "::group::Log message source details"
SOURCES_END = "::endgroup::"


class AirflowApiError(Exception):
    """The API refused or did not answer; the message says what was asked and what it said."""


class NotThere(AirflowApiError):
    """What was asked for is not there."""


class UnknownDag(NotThere):
    """There is no such DAG."""


@dataclass(frozen=True)
class LogRecord:
    """One record of a task log."""

    # None for what is no log record, a line printed by a crashing process for example.
    time: datetime | None
    level: str
    message: str
    logger: str
    # Whatever else the record carries: exceptions are under "error_detail".
    fields: dict[str, Any] = field(default_factory=dict, compare=False)

    def lines(self) -> list[str]:
        """The message and, as Python would print them, the exceptions that it carries."""
        lines = self.message.splitlines()
        for number, error in enumerate(reversed(self.fields.get("error_detail") or [])):
            if number:
                lines.append("During handling of the above exception, another exception occurred:")
            lines.append("Traceback (most recent call last):")
            for frame in error.get("frames") or []:
                lines.append(
                    f'  File "{frame.get("filename")}", line {frame.get("lineno")}, in {frame.get("name")}'
                )
            lines.append(f"{error.get('exc_type')}: {error.get('exc_value')}")
        return lines


@dataclass(frozen=True)
class TaskLog:
    """A task's log, and the places that the server says it was read from."""

    records: list[LogRecord]
    sources: list[str]


class AirflowClient:
    """One user's access to the API."""

    def __init__(self, address: str, user: str, password: str) -> None:
        """Log in at the first question, not yet.

        :param address: of the webserver: ``http://127.0.0.1:8080``.
        """
        self.address = address
        self._user = user
        self._password = password

    @classmethod
    def of(cls, stack: Stack) -> "AirflowClient":
        """The client for a running stack, as its administrator.

        :raises windtunnel.stack.errors.StackError: when the webserver does not run.
        """
        return cls(stack.address("webserver"), *stack.login())

    @cached_property
    def _client(self) -> ApiClient:
        try:
            response = urllib3.request(
                "POST",
                f"{self.address}/auth/token",
                json={"username": self._user, "password": self._password},
                timeout=REQUEST_TIMEOUT,
            )
        except urllib3.exceptions.HTTPError as error:
            raise AirflowApiError(f"no answer from {self.address}: {error}") from error
        if response.status != 201:
            raise AirflowApiError(f"{self.address} refuses the login of {self._user}: {response.status}")
        return ApiClient(Configuration(host=self.address, access_token=response.json()["access_token"]))

    def _ask(self, what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return call(*arguments, **options, _request_timeout=REQUEST_TIMEOUT)
        except ApiException as error:
            refusal = AirflowApiError
            if isinstance(error, NotFoundException):
                refusal = UnknownDag if _reason(error).startswith("Dag with dag_id") else NotThere
            # Without the package's own error: it says the same in thirty lines.
            raise refusal(f"{what}: {error.status} {_reason(error)}") from None
        except urllib3.exceptions.HTTPError as error:
            raise AirflowApiError(f"{what}: no answer from {self.address}: {error}") from error

    # DAGs

    def health(self) -> HealthInfoResponse:
        """Airflow's own report on database, scheduler, triggerer and dag-processor.

        :raises AirflowApiError: as all methods here do, when the API does not answer or refuses.
        """
        health: HealthInfoResponse = self._ask("asking for health", MonitorApi(self._client).get_health)
        return health

    def dags(self) -> list[DAGResponse]:
        """Every DAG that is there now."""
        return list(self._ask("listing the DAGs", DAGApi(self._client).get_dags, limit=1000).dags)

    def import_error_lines(self) -> list[str]:
        """The same as text: file and traceback."""
        return [f"{error.filename}: {error.stack_trace}" for error in self.import_errors()]

    def import_errors(self) -> list[ImportErrorResponse]:
        """Every DAG file that cannot be imported: ``filename`` and ``stack_trace``."""
        call = ImportErrorApi(self._client).get_import_errors
        return list(self._ask("listing import errors", call, limit=1000).import_errors)

    def pause(self, dag_id: str) -> None:
        """Start no further scheduled run.

        :raises UnknownDag: when there is no such DAG.
        """
        self._patch(dag_id, paused=True)

    def unpause(self, dag_id: str) -> None:
        """Start scheduled runs again.

        :raises UnknownDag: when there is no such DAG.
        """
        self._patch(dag_id, paused=False)

    def _patch(self, dag_id: str, *, paused: bool) -> None:
        what = f"{'pausing' if paused else 'unpausing'} the DAG {dag_id}"
        self._ask(what, DAGApi(self._client).patch_dag, dag_id, DAGPatchBody(is_paused=paused))

    # Runs

    def trigger(
        self,
        dag_id: str,
        conf: dict[str, Any] | None = None,
        run_id: str | None = None,
        logical_date: datetime | None = None,
    ) -> DAGRunResponse:
        """Start a run now.

        :param logical_date: with its time zone. Without one templates have no ``ds`` and ``ts``; with one
            before the DAG's start Airflow runs no task and calls the run a success.
        :param run_id: its id; Airflow makes one where None.
        :raises UnknownDag: when there is no such DAG.
        """
        body = TriggerDAGRunPostBody(conf=conf, dag_run_id=run_id, logical_date=logical_date)
        run: DAGRunResponse = self._ask(f"running the DAG {dag_id}", self._runs.trigger_dag_run, dag_id, body)
        return run

    @property
    def _runs(self) -> DagRunApi:
        return DagRunApi(self._client)

    def run(self, dag_id: str, run_id: str) -> DAGRunResponse:
        """One run as it is now."""
        what = f"asking for the run {run_id} of {dag_id}"
        run: DAGRunResponse = self._ask(what, self._runs.get_dag_run, dag_id, run_id)
        return run

    def runs(self, dag_id: str, limit: int = 10) -> list[DAGRunResponse]:
        """The latest runs, newest first."""
        what = f"listing the runs of {dag_id}"
        answer = self._ask(what, self._runs.get_dag_runs, dag_id, limit=limit, order_by=["-run_after"])
        return list(answer.dag_runs)

    def wait(
        self, run: DAGRunResponse, timeout: float, on_state: Callable[[str], None] = lambda _: None
    ) -> DAGRunResponse:
        """Wait for a run's end.

        :param timeout: seconds.
        :param on_state: gets each new state.
        :returns: the finished run; failed counts as finished.
        :raises WaitTimeout: with the last state.
        """
        what = f"the run {run.dag_run_id} of {run.dag_id} to end"
        hint = "See its tasks on the web page, and the scheduler's log; a DAG that is paused starts none."
        deadline = time.monotonic() + timeout
        last = ""
        for state in self._states(run, timeout):
            if state != last:
                last = state
                on_state(state)
            if state in FINISHED:
                return self.run(run.dag_id, run.dag_run_id)
            if time.monotonic() > deadline:
                raise WaitTimeout(f"waited {timeout:g} s for {what}. Last answer: {last!r}. {hint}")

        def finished() -> DAGRunResponse | None:
            now = self.run(run.dag_id, run.dag_run_id)
            return now if now.state in FINISHED else None

        left = deadline - time.monotonic()
        # The webserver may be starting again.
        return wait_until(
            what, finished, timeout=left, interval=INTERVAL, hint=hint, retry_on=(AirflowApiError,)
        )

    def _states(self, run: DAGRunResponse, timeout: float) -> Iterator[str]:
        """The run's states as the server streams them; ends early where it does not: it is experimental."""
        try:
            stream = self._runs.wait_dag_run_until_finished_without_preload_content(
                run.dag_id, run.dag_run_id, INTERVAL, [], _request_timeout=timeout
            )
            rest = b""
            for chunk in stream.stream() if stream.status == 200 else ():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line:
                        yield json.loads(line)["state"]
        except (ApiException, urllib3.exceptions.HTTPError):
            return

    def clear(self, run: DAGRunResponse, *task_ids: str) -> None:
        """Run tasks of a run again: the named ones, or all."""
        body = ClearTaskInstancesBody.from_dict(
            {
                "dry_run": False,
                "dag_run_id": run.dag_run_id,
                "task_ids": list(task_ids) or None,
                "only_failed": False,
                "reset_dag_runs": True,
            }
        )
        what = f"clearing tasks of the run {run.dag_run_id} of {run.dag_id}"
        self._ask(what, TaskInstanceApi(self._client).post_clear_task_instances, run.dag_id, body)

    # Tasks

    def task_instances(self, run: DAGRunResponse) -> list[TaskInstanceResponse]:
        """The run's task instances, each in its latest try."""
        what = f"listing the tasks of the run {run.dag_run_id}"
        call = TaskInstanceApi(self._client).get_task_instances
        answer = self._ask(what, call, run.dag_id, run.dag_run_id, limit=1000)
        return list(answer.task_instances)

    def task_log(
        self, run: DAGRunResponse, task_id: str, try_number: int = 1, map_index: int = -1
    ) -> TaskLog:
        """A task's whole log so far, as the web page shows it.

        The package's own model of it keeps time and text alone, so the answer is read as the JSON that it is.
        """
        what = f"reading the log of {run.dag_id}.{task_id}, try {try_number}"
        response: urllib3.HTTPResponse = self._ask(
            what,
            TaskInstanceApi(self._client).get_log_without_preload_content,
            run.dag_id,
            run.dag_run_id,
            task_id,
            try_number,
            full_content=True,
            map_index=map_index,
        )
        text = response.read()
        if response.status != 200:
            raise AirflowApiError(f"{what}: {response.status} {text.decode(errors='replace')}")
        return _task_log(json.loads(text)["content"])

    def xcom(self, run: DAGRunResponse, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """A value that a task has pushed."""
        what = f"reading the XCom {key} of {run.dag_id}.{task_id}"
        call = XComApi(self._client).get_xcom_entry_without_preload_content
        response: urllib3.HTTPResponse = self._ask(
            what, call, run.dag_id, task_id, run.dag_run_id, key, map_index=map_index, stringify=False
        )
        text = response.read()
        if response.status != 200:
            raise AirflowApiError(f"{what}: {response.status} {text.decode(errors='replace')}")
        return json.loads(text)["value"]

    def failures(self, run: DAGRunResponse) -> list[str]:
        """Say why a run has failed: of each failed task the last lines of its log, and :meth:`notes`.

        :returns: lines; none where no task has failed.
        """
        failed = [task for task in self.task_instances(run) if task.state == "failed"]
        lines = []
        for task in failed:
            index = f"[{task.map_index}]" if task.map_index >= 0 else ""
            lines.append(f"{task.task_id}{index}, try {task.try_number}, failed:")
            try:
                log = self.task_log(run, task.task_id, task.try_number, task.map_index)
                texts = [line for record in log.records for line in record.lines() if _is_telling(line)]
            except AirflowApiError as error:
                texts = [str(error)]
            lines += [f"  {text}" for text in texts[-TELLING_LINES:]]
        return lines + [f"scheduler: {note}" for note in self.notes(run)]

    def notes(self, run: DAGRunResponse) -> list[str]:
        """What the scheduler noted when it failed tasks itself; the tasks' own logs say nothing of that."""
        what = f"reading the audit log of the run {run.dag_run_id}"
        call = EventLogApi(self._client).get_event_logs
        answer = self._ask(what, call, dag_id=run.dag_id, run_id=run.dag_run_id, event="state mismatch")
        return [str(event.extra) for event in answer.event_logs]

    # What tasks look up

    def connection(self, connection_id: str) -> dict[str, Any] | None:
        """What ``add_connection`` takes of one, secrets as ``***``; None where there is none."""
        call = ConnectionApi(self._client).get_connection
        try:
            found = self._ask(f"reading the connection {connection_id}", call, connection_id)
        except NotThere:
            return None
        return {name: value for name, value in found.to_dict().items() if name != "connection_id"}

    def add_connection(self, connection_id: str, conn_type: str, **fields: Any) -> None:
        """Add a connection that is not there yet.

        :param fields: ``host``, ``login``, ``password``, ``port``, ``schema``; ``extra`` as text or dict.
        :raises TypeError: for a field that connections do not have.
        """
        check_connection_fields(fields)
        if not isinstance(extra := fields.get("extra"), str | None):
            fields["extra"] = json.dumps(extra)
        body = ConnectionBody.from_dict({"connection_id": connection_id, "conn_type": conn_type, **fields})
        call = ConnectionApi(self._client).post_connection
        self._ask(f"adding the connection {connection_id}", call, body)

    def delete_connection(self, connection_id: str) -> None:
        """Delete a connection."""
        call = ConnectionApi(self._client).delete_connection
        self._ask(f"deleting the connection {connection_id}", call, connection_id)

    def variable(self, key: str) -> str | None:
        """A variable's text, ``***`` for one that is named like a secret; None where there is none."""
        try:
            found = self._ask(f"reading the variable {key}", VariableApi(self._client).get_variable, key)
        except NotThere:
            return None
        return str(found.value)

    def add_variable(self, key: str, value: Any) -> None:
        """Add a variable that is not there yet.

        :param value: a text, or what becomes JSON.
        """
        text = value if isinstance(value, str) else json.dumps(value)
        body = VariableBody.from_dict({"key": key, "value": text})
        self._ask(f"adding the variable {key}", VariableApi(self._client).post_variable, body)

    def delete_variable(self, key: str) -> None:
        """Delete a variable."""
        self._ask(f"deleting the variable {key}", VariableApi(self._client).delete_variable, key)

    def pool(self, name: str) -> PoolResponse | None:
        """A pool; None where there is none."""
        try:
            found: PoolResponse = self._ask(f"reading the pool {name}", PoolApi(self._client).get_pool, name)
        except NotThere:
            return None
        return found

    def resize_pool(self, pool: PoolResponse, slots: int) -> None:
        """Give a pool another number of slots."""
        # Airflow wants these two also where they are to stay.
        body = PoolPatchBody(pool=pool.name, include_deferred=pool.include_deferred, slots=slots)
        call = PoolApi(self._client).patch_pool
        self._ask(f"resizing the pool {pool.name}", call, pool.name, body, update_mask=["slots"])

    def add_pool(self, name: str, slots: int) -> None:
        """Add a pool that is not there yet."""
        body = PoolBody.from_dict({"name": name, "slots": slots})
        self._ask(f"adding the pool {name}", PoolApi(self._client).post_pool, body)

    def delete_pool(self, name: str) -> None:
        """Delete a pool."""
        self._ask(f"deleting the pool {name}", PoolApi(self._client).delete_pool, name)


def check_connection_fields(fields: Collection[str]) -> None:
    """Refuse what is no field of a connection; the package would pass over it.

    :raises TypeError: naming those that there are.
    """
    known = {field.alias or name for name, field in ConnectionBody.model_fields.items()}
    if unknown := sorted(set(fields) - known):
        raise TypeError(f"a connection has no {', '.join(unknown)}; there are: {', '.join(sorted(known))}")


def _is_telling(line: str) -> bool:
    """Not a mark between which the web page folds lines, nor a frame within an installed package."""
    return not line.startswith(("::group::", "::endgroup::")) and "/site-packages/" not in line


def _task_log(content: list[dict[str, Any]]) -> TaskLog:
    sources: list[str] = []
    events = [entry["event"] for entry in content]
    if SOURCES_BEGIN in events:
        begin = events.index(SOURCES_BEGIN)
        end = events.index(SOURCES_END, begin)
        sources = events[begin + 1 : end]
        content = content[:begin] + content[end + 1 :]
    return TaskLog([_record(dict(entry)) for entry in content], sources)


def _record(entry: dict[str, Any]) -> LogRecord:
    timestamp = entry.pop("timestamp", None)
    return LogRecord(
        time=datetime.fromisoformat(timestamp) if timestamp else None,
        level=entry.pop("level", "info"),
        message=entry.pop("event"),
        logger=entry.pop("logger", ""),
        fields=entry,
    )


def _reason(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["detail"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
