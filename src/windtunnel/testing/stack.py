"""What a test does with a running stack: run DAGs, look at tasks and their logs, reach the emulated AWS.

The fixtures of ``windtunnel.pytest_plugin`` hand these out.
"""

import configparser
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from airflow_client.client import DAGRunResponse

from windtunnel.airflow_api.client import AirflowApiError, AirflowClient, NotThere, UnknownDag
from windtunnel.airflow_api.lookups import Lookups, check_connection_fields
from windtunnel.seeding.resources import Call, apply
from windtunnel.seeding.validation import SeedingError
from windtunnel.stack import aws
from windtunnel.stack.base import Stack, ignore
from windtunnel.testing.function_stubs import Functions, Stub
from windtunnel.testing.runs import RUN_TIMEOUT, DagRun
from windtunnel.waiting import WaitTimeout, wait_until

__tracebackhide__ = True  # pytest shows the test's line that failed, and not the way through here

# Seconds that the parsing of a saved DAG file may take: page and scheduler know it within 2 s.
PARSE_TIMEOUT = 10.0

# How much of a connection's id is part of another name for it, which Airflow allows 200 characters.
STEM = 170


class RunningStack:
    """A running stack: run DAGs, reach the emulated AWS, change something for one test."""

    def __init__(self, stack: Stack) -> None:
        """Ask nothing yet."""
        self.stack = stack
        # Every run that was started through this, the latest last.
        self.runs: list[DAGRunResponse] = []
        self._clients: dict[tuple[str, str], Any] = {}

    @cached_property
    def airflow(self) -> AirflowClient:
        """Airflow's API, as the administrator."""
        return AirflowClient.of(self.stack)

    @cached_property
    def _lookups(self) -> Lookups:
        return Lookups(self.airflow)

    @cached_property
    def log_bucket(self) -> str:
        """The bucket of the task logs."""
        settings = configparser.ConfigParser(interpolation=None)
        settings.read(self.stack.settings.folder("CONFIG_FOLDER") / "airflow.cfg")
        own = settings["logging"]["remote_base_log_folder"]
        folder = self.stack.variables("scheduler").get("AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER", own)
        return folder.removeprefix("s3://").partition("/")[0]

    def aws(self, service: str) -> Any:
        """Return a boto3 client for a service of the emulated AWS, whatever this machine's own settings are.

        It is the same one each time, as long as the emulator has the same port: making one takes 0.1 s.

        :param service: as boto3 names it: ``s3``.
        """
        key = (service, self.stack.address("localstack"))
        if key not in self._clients:
            self._clients[key] = aws.client(self.stack, service)
        return self._clients[key]

    def create_resources(self, calls: Iterable[Call]) -> None:
        """Make calls of AWS, each unless what it creates is there already.

        :raises windtunnel.SeedingError: if AWS refuses.
        """
        _, reasons = apply(list(calls), self.aws)
        if reasons:
            raise SeedingError("\n".join(reasons))

    def run_dag(
        self,
        dag_id: str,
        conf: dict[str, Any] | None = None,
        *,
        logical_date: datetime | None = None,
        timeout: float = RUN_TIMEOUT,
    ) -> DagRun:
        """Run a DAG as :meth:`trigger_dag` does, and wait for its end, good or bad.

        :param timeout: seconds.
        :raises windtunnel.UnknownDag: if there is no such DAG.
        :raises windtunnel.WaitTimeout: if it takes longer.
        """
        return self.trigger_dag(dag_id, conf, logical_date=logical_date).wait(timeout)

    def trigger_dag(
        self, dag_id: str, conf: dict[str, Any] | None = None, *, logical_date: datetime | None = None
    ) -> DagRun:
        """Start a run of a DAG and do not wait: its ``wait`` does.

        :param conf: the run's configuration.
        :param logical_date: with its time zone; without one templates have no ``ds``.
        :raises windtunnel.UnknownDag: if there is no such DAG.
        """
        try:
            run = self.airflow.trigger(dag_id, conf, logical_date=logical_date)
        except UnknownDag:
            there = ", ".join(sorted(dag.dag_id for dag in self.airflow.dags()))
            raise UnknownDag(f"there is no DAG {dag_id}; there are: {there or 'none'}") from None
        self.runs.append(run)
        return DagRun(self, run)

    def connection(self, connection_id: str, conn_type: str, **fields: Any) -> AbstractContextManager[None]:
        """Set a connection of Airflow's during the block, in place of any other of that id.

        :param fields: as Airflow names them: ``host``, ``login``, ``password``, ``extra``, a dict, and so on.
        :raises TypeError: for a field that connections do not have.
        """
        check_connection_fields(fields)
        there = self._lookups.connection(connection_id) is not None
        add = partial(self._lookups.add_connection, conn_type=conn_type, **fields)
        return self._replaced("connection", connection_id, there, add, self._lookups.delete_connection)

    def variable(self, key: str, value: Any) -> AbstractContextManager[None]:
        """Set a variable of Airflow's during the block, in place of any other of that key.

        :param value: a text, or what becomes JSON.
        """
        there = self._lookups.variable(key) is not None
        add = partial(self._lookups.add_variable, value=value)
        return self._replaced("variable", key, there, add, self._lookups.delete_variable)

    @contextmanager
    def _replaced(
        self, table: str, name: str, there: bool, add: Callable[[str], None], delete: Callable[[str], None]
    ) -> Iterator[None]:
        """Add a row during the block, in place of any other of its name.

        The other one waits in the database, under a name of its own: Airflow's API does not tell its secrets.
        Names change hands in one transaction, so that at any time there is a row of that name.

        :param there: there is another one.
        """
        stem = f"{name[:STEM]}.windtunnel.{secrets.token_hex(4)}"
        new, kept = (f"{stem}.new", f"{stem}.kept") if there else (name, "")
        rename = partial(self.stack.ask, "scheduler", "rename", table)
        with ExitStack() as cleanup:
            add(new)
            cleanup.callback(self._delete, delete, new)
            if there:
                rename(name, kept, new, name)
                cleanup.callback(rename, kept, name)
            yield

    @staticmethod
    def _delete(delete: Callable[[str], None], name: str) -> None:
        # It has another name by now, or a task has deleted it.
        with suppress(NotThere):
            delete(name)

    @contextmanager
    def pool(self, name: str, slots: int) -> Iterator[None]:
        """Set a pool of Airflow's during the block, or the number of slots of the one that is there."""
        before = self._lookups.pool(name)
        if before:
            self._lookups.resize_pool(before, slots)
            undo = partial(self._lookups.resize_pool, before, before.slots)
        else:
            self._lookups.add_pool(name, slots)
            undo = partial(self._lookups.delete_pool, name)
        try:
            yield
        finally:
            undo()

    def paused(self, dag_id: str) -> AbstractContextManager[None]:
        """Pause a DAG during the block."""
        return self._set_paused(dag_id, self.airflow.pause)

    def unpaused(self, dag_id: str) -> AbstractContextManager[None]:
        """Unpause a DAG during the block."""
        return self._set_paused(dag_id, self.airflow.unpause)

    @contextmanager
    def _set_paused(self, dag_id: str, change: Callable[[str], None]) -> Iterator[None]:
        was_paused = any(dag.is_paused for dag in self.airflow.dags() if dag.dag_id == dag_id)
        try:
            change(dag_id)
            yield
        finally:
            (self.airflow.pause if was_paused else self.airflow.unpause)(dag_id)

    def wait_for_saved_files(self) -> None:
        """Wait until functions and DAGs are what their files say, which takes a moment after a save.

        For a new DAG file that defines no DAG it waits ``PARSE_TIMEOUT``, in vain.

        :raises windtunnel.SeedingError: naming what is wrong with a function's folder.
        :raises windtunnel.StackError: if a function cannot be deployed, with the reason.
        """
        if outdated := self._functions.outdated():
            command = ("localstack", "python", "-m", "windtunnel.seeding", *outdated)
            self.stack.run_in(*command, on_line=ignore, what="deploying", next_step="Correct the file.")
        with suppress(WaitTimeout):
            what = "the saved DAGs to be parsed"
            wait_until(what, self._are_dags_parsed, timeout=PARSE_TIMEOUT, retry_on=(AirflowApiError,))

    def _are_dags_parsed(self) -> bool:
        folder = self.stack.settings.folder("DAGS_FOLDER")
        recent = time.time() - PARSE_TIMEOUT
        awaited: dict[str, float] = {}
        for path in folder.rglob("*.py"):
            # It may be gone by now.
            with suppress(FileNotFoundError):
                if (saved := path.stat().st_mtime) > recent:
                    awaited[str(path.relative_to(folder))] = saved
        if not awaited:
            return True
        parsed = {dag.relative_fileloc: dag.last_parsed_time for dag in self.airflow.dags()}
        parsed |= {error.filename: error.timestamp for error in self.airflow.import_errors()}
        return all((when := parsed.get(file)) and when.timestamp() > saved for file, saved in awaited.items())

    @cached_property
    def _functions(self) -> Functions:
        return Functions(self.stack, self.aws)

    def deploy_function(self, folder: Path | str) -> AbstractContextManager[str]:
        """Deploy a Lambda function during the block, in place of any other of its name; yield its name.

        :param folder: like those in ``lambdas/``, with ``lambda_function.py`` and maybe ``function.json``.
        :raises windtunnel.SeedingError: saying what is wrong with the folder.
        """
        return self._functions.deployed(Path(folder))

    def stub_function(
        self, name: str, returns: Any = None, *, raises: Exception | None = None
    ) -> AbstractContextManager[Stub]:
        """Let a Lambda function answer what the test says during the block; yield what it was asked.

        :param returns: what it answers, as JSON.
        :param raises: what it fails with instead; only its class's name and its message go over.
        :raises windtunnel.FunctionError: if there is no such function.
        :raises TypeError: if ``returns`` is not JSON, or ``raises`` not an exception.
        """
        return self._functions.stubbed(name, returns, raises)
