"""DAGs, runs and tasks through Airflow's REST API, on top of Airflow's own client package."""

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cached_property
from typing import Any

import urllib3
from airflow_client import client as rest

from windtunnel.airflow_api.task_log import TaskLog, read_task_log
from windtunnel.stack.base import Stack
from windtunnel.waiting import WaitTimeout, wait_until

__tracebackhide__ = True  # pytest shows the test's line that failed, and not the way through here

# Seconds between two looks at a run.
INTERVAL = 0.2

# As [api] maximum_page_limit in config/airflow.cfg.
PAGE = 1000

# Seconds for one answer of the API; generous, because a full machine starts slowly.
REQUEST_TIMEOUT = 30.0

# The states in which a run stays.
FINISHED = frozenset({"success", "failed"})

# Events of a run that say why a task failed: the scheduler's, and those that executors name after what has
# failed: "ecs task submit failure", "batch job failed". "failed" alone is the state of a task.
NOTES = re.compile(r"state mismatch|.+ (failure|failed)")


class AirflowApiError(Exception):
    """The API refused or did not answer; the message says what was asked and what it said."""


class NotThere(AirflowApiError):
    """What was asked for is not there."""


class UnknownDag(NotThere):
    """There is no such DAG."""


class AirflowClient:
    """One user's access to the API.

    Each method raises AirflowApiError if the API does not answer or refuses: UnknownDag if there is no DAG of
    that id.
    """

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

        :raises windtunnel.stack.errors.StackError: if the webserver does not run.
        """
        return cls(stack.address("webserver"), *stack.login())

    @cached_property
    def api(self) -> rest.ApiClient:
        """Airflow's own client, logged in."""
        address, login = f"{self.address}/auth/token", {"username": self._user, "password": self._password}
        try:
            response = urllib3.request("POST", address, json=login, timeout=REQUEST_TIMEOUT)
        except urllib3.exceptions.HTTPError as error:
            raise AirflowApiError(f"no answer from {self.address}: {error}") from error
        if response.status != 201:
            raise AirflowApiError(f"{self.address} refuses the login of {self._user}: {response.status}")
        token = response.json()["access_token"]
        # The empty text: no proxy, whatever HTTP_PROXY says; the address is on loopback.
        return rest.ApiClient(rest.Configuration(host=self.address, access_token=token, proxy=""))

    def ask[T](self, what: str, call: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Call a method of Airflow's client.

        :param what: begins an error's message: ``listing the DAGs``.
        """
        try:
            return call(*arguments, **options, _request_timeout=REQUEST_TIMEOUT)
        except rest.ApiException as error:
            refusal = AirflowApiError
            if error.status == 404:
                refusal = UnknownDag if _reason(error).startswith("Dag with dag_id") else NotThere
            # Without the error of Airflow's client, which says the same in thirty lines.
            raise refusal(f"{what}: {error.status} {_reason(error)}") from None
        except urllib3.exceptions.HTTPError as error:
            raise AirflowApiError(f"{what}: no answer from {self.address}: {error}") from error

    def health(self) -> rest.HealthInfoResponse:
        """Airflow's own report on database, scheduler, triggerer and dag-processor."""
        return self.ask("asking for health", rest.MonitorApi(self.api).get_health)

    def dags(self) -> list[rest.DAGResponse]:
        """Every DAG that is there now."""
        return self._all("dags", "listing the DAGs", rest.DAGApi(self.api).get_dags)

    def _all(self, items: str, what: str, call: Callable[..., Any]) -> list[Any]:
        """Return what all pages of a listing hold under the name ``items``."""
        found: list[Any] = []
        while True:
            answer = self.ask(what, call, limit=PAGE, offset=len(found))
            found += getattr(answer, items)
            if not getattr(answer, items) or len(found) >= answer.total_entries:
                return found

    def import_error_lines(self) -> list[str]:
        """Return each import error as text: file and traceback."""
        return [f"{error.filename}: {error.stack_trace}" for error in self.import_errors()]

    def import_errors(self) -> list[rest.ImportErrorResponse]:
        """Every DAG file that cannot be imported: ``filename`` and ``stack_trace``."""
        call = rest.ImportErrorApi(self.api).get_import_errors
        return self._all("import_errors", "listing import errors", call)

    def plugin_errors(self) -> list[tuple[str, str]]:
        """Every plugin that the webserver cannot load: file and error."""
        answer = self.ask("listing plugin errors", rest.PluginApi(self.api).import_errors)
        return [(error.source, error.error) for error in answer.import_errors]

    def pause(self, dag_id: str) -> None:
        """Start no further scheduled run."""
        self._patch(dag_id, paused=True)

    def unpause(self, dag_id: str) -> None:
        """Start scheduled runs again."""
        self._patch(dag_id, paused=False)

    def _patch(self, dag_id: str, *, paused: bool) -> None:
        what = f"{'pausing' if paused else 'unpausing'} the DAG {dag_id}"
        self.ask(what, rest.DAGApi(self.api).patch_dag, dag_id, rest.DAGPatchBody(is_paused=paused))

    def trigger(
        self,
        dag_id: str,
        conf: dict[str, Any] | None = None,
        run_id: str | None = None,
        logical_date: datetime | None = None,
    ) -> rest.DAGRunResponse:
        """Start a run now.

        :param logical_date: with its time zone. Without one templates have no ``ds`` and ``ts``; with one
            before the DAG's start Airflow runs no task and calls the run a success.
        :param run_id: its id; None lets Airflow make one.
        """
        body = rest.TriggerDAGRunPostBody(conf=conf, dag_run_id=run_id, logical_date=logical_date)
        return self.ask(f"running the DAG {dag_id}", self._runs.trigger_dag_run, dag_id, body)

    @property
    def _runs(self) -> rest.DagRunApi:
        return rest.DagRunApi(self.api)

    def run(self, dag_id: str, run_id: str) -> rest.DAGRunResponse:
        """One run as it is now."""
        what = f"asking for the run {run_id} of {dag_id}"
        return self.ask(what, self._runs.get_dag_run, dag_id, run_id)

    def runs(self, dag_id: str, limit: int = 10) -> list[rest.DAGRunResponse]:
        """The latest runs, newest first."""
        what = f"listing the runs of {dag_id}"
        answer = self.ask(what, self._runs.get_dag_runs, dag_id, limit=limit, order_by=["-run_after"])
        return list(answer.dag_runs)

    def wait(self, run: rest.DAGRunResponse, timeout: float) -> rest.DAGRunResponse:
        """Wait for a run's end, and return it; a failed run has ended, too.

        :param timeout: seconds.
        :raises WaitTimeout: with the last state.
        """
        what = f"the run {run.dag_run_id} of {run.dag_id} to end"
        hint = "See its tasks on the web page, and the scheduler's log; a DAG that is paused starts none."
        deadline = time.monotonic() + timeout
        for state in self._states(run, timeout):
            if state in FINISHED:
                break
            if time.monotonic() > deadline:
                raise WaitTimeout(f"waited {timeout:g} s for {what}. Last answer: {state!r}. {hint}")

        def finished() -> rest.DAGRunResponse | None:
            now = self.run(run.dag_id, run.dag_run_id)
            return now if now.state in FINISHED else None

        left = deadline - time.monotonic()
        # The webserver may be starting again.
        return wait_until(
            what, finished, timeout=left, interval=INTERVAL, hint=hint, retry_on=(AirflowApiError,)
        )

    def _states(self, run: rest.DAGRunResponse, timeout: float) -> Iterator[str]:
        """Yield the run's states as the server streams them; this API is experimental and may end early."""
        try:
            call = self._runs.wait_dag_run_until_finished_without_preload_content
            stream = call(run.dag_id, run.dag_run_id, INTERVAL, [], _request_timeout=timeout)
            begun = b""
            for chunk in stream.stream() if stream.status == 200 else ():
                *lines, begun = (begun + chunk).split(b"\n")
                for line in filter(None, lines):
                    yield json.loads(line)["state"]
        except (rest.ApiException, urllib3.exceptions.HTTPError):
            return

    def fail(self, run: rest.DAGRunResponse) -> None:
        """Mark a run as failed, which stops its tasks, as the web page does."""
        what = f"marking the run {run.dag_run_id} of {run.dag_id} as failed"
        body = rest.DAGRunPatchBody.from_dict({"state": "failed"})
        self.ask(what, self._runs.patch_dag_run, run.dag_id, run.dag_run_id, body)

    def clear(self, run: rest.DAGRunResponse, *task_ids: str) -> None:
        """Run tasks of a run again: the named ones, or all."""
        options = {"dry_run": False, "only_failed": False, "reset_dag_runs": True}
        body = rest.ClearTaskInstancesBody.from_dict(
            {"dag_run_id": run.dag_run_id, "task_ids": list(task_ids) or None, **options}
        )
        what = f"clearing tasks of the run {run.dag_run_id} of {run.dag_id}"
        self.ask(what, rest.TaskInstanceApi(self.api).post_clear_task_instances, run.dag_id, body)

    def task_instances(self, run: rest.DAGRunResponse) -> list[rest.TaskInstanceResponse]:
        """The run's task instances, each in its latest try."""
        what = f"listing the tasks of the run {run.dag_run_id}"
        call = rest.TaskInstanceApi(self.api).get_task_instances
        return list(self.ask(what, call, run.dag_id, run.dag_run_id, limit=1000).task_instances)

    def task_log(
        self, run: rest.DAGRunResponse, task_id: str, try_number: int = 1, map_index: int = -1
    ) -> TaskLog:
        """A task's whole log so far, as the web page shows it.

        Airflow's client keeps nothing but time and text, so the answer is read as JSON.
        """
        what = f"reading the log of {run.dag_id}.{task_id}, try {try_number}"
        call = rest.TaskInstanceApi(self.api).get_log_without_preload_content
        place = (run.dag_id, run.dag_run_id, task_id, try_number)
        response = self.ask(what, call, *place, full_content=True, map_index=map_index)
        return read_task_log(_content(what, response)["content"])

    def xcom(
        self, run: rest.DAGRunResponse, task_id: str, key: str = "return_value", map_index: int = -1
    ) -> Any:
        """A value that a task has pushed."""
        what = f"reading the XCom {key} of {run.dag_id}.{task_id}"
        call = rest.XComApi(self.api).get_xcom_entry_without_preload_content
        place = (run.dag_id, task_id, run.dag_run_id, key)
        response = self.ask(what, call, *place, map_index=map_index, stringify=False)
        return _content(what, response)["value"]

    def failures(self, run: rest.DAGRunResponse) -> list[str]:
        """Say why a run has failed: of each failed task the last lines of its log, and :meth:`notes`.

        :returns: lines; none if no task has failed.
        """
        lines = []
        for task in [task for task in self.task_instances(run) if task.state == "failed"]:
            index = f"[{task.map_index}]" if task.map_index >= 0 else ""
            lines.append(f"{task.task_id}{index}, try {task.try_number}, failed:")
            try:
                texts = self.task_log(run, task.task_id, task.try_number, task.map_index).telling_lines()
            except AirflowApiError as error:
                texts = [str(error)]
            lines += [f"  {text}" for text in texts]
        return lines + [f"scheduler: {note}" for note in self.notes(run)]

    def notes(self, run: rest.DAGRunResponse) -> list[str]:
        """Return why tasks failed if their own logs do not say it: by the scheduler and by its executor."""
        what = f"reading the audit log of the run {run.dag_run_id}"
        call = rest.EventLogApi(self.api).get_event_logs
        # The latest: each task has some events of its states, too.
        of = {"dag_id": run.dag_id, "run_id": run.dag_run_id, "limit": PAGE, "order_by": ["-id"]}
        events = reversed(self.ask(what, call, **of).event_logs)
        return [str(event.extra) for event in events if NOTES.fullmatch(event.event)]


def _content(what: str, response: urllib3.HTTPResponse) -> Any:
    text = response.read()
    if response.status != 200:
        raise AirflowApiError(f"{what}: {response.status} {text.decode(errors='replace')}")
    return json.loads(text)


def _reason(error: rest.ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["detail"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
