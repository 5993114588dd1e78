"""The stack under test, and how a test run leaves the machine as it found it."""

import os
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import docker
import localstack_client.session
import psutil
import psycopg2
import pytest
from docker.models.containers import Container

from windtunnel.airflow_api.client import AirflowClient
from windtunnel.compose.labels import NUMBER_LABEL, ONE_OFF_LABEL, PROJECT_LABEL, SERVICE_LABEL
from windtunnel.compose.stack import ComposeStack
from windtunnel.dev.tools import CHROMIUM
from windtunnel.local import processes
from windtunnel.local.stack import ProcessStack
from windtunnel.stack import choose
from windtunnel.stack.base import Stack
from windtunnel.stack.settings import ROOT
from windtunnel.waiting import wait_until

EVIDENCE = ROOT / ".windtunnel" / "evidence"
REGION = "ap-southeast-2"
BUCKET = "airflow-lambda-logs"

# Results of that many bytes and more are in S3; all but those of one test are smaller.
XCOM_THRESHOLD = 1_000_000

# The .env of stacks under test. Nothing listens on the proxy's port: loopback must not go through it.
ENV_FILE = f"""
AIRFLOW_VAR_OF_ENV='{{"price": "$5 # each"}}'
AIRFLOW_CONN_OF_ENV=postgresql://user:p%40ss@postgres:5432/warehouse
AIRFLOW__CORE__MAX_NUM_RENDERED_TI_FIELDS_PER_TASK=31
AIRFLOW__CORE__XCOM_BACKEND=airflow.providers.common.io.xcom.backend.XComObjectStorageBackend
AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH=s3://aws_default@{BUCKET}/xcom
AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD={XCOM_THRESHOLD}
NAME_OF_MY_OWN="two words
and a line"
ALL_PROXY=http://127.0.0.1:1
"""

# As root Chromium refuses its own sandbox; the rest keeps it from calling anyone but the page.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """The browser for tests of the web page; None if there is none."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


def new_project(
    floor: str,
    folder: Path,
    overlays: Sequence[Path | str] = (),
    engine: str | None = None,
    **variables: str,
) -> Stack:
    """The stack of this checkout as a project of its own, which any number of others may run beside.

    Nothing is started.

    :param floor: a part of the project's name.
    :param folder: where the copies go.
    :param overlays: their names, or paths of files.
    :param engine: what runs it; as ``./windtunnel`` chooses if None.
    :param variables: further settings.
    """
    project = f"windtunnel-{floor}-{os.getpid()}"
    own = settings(folder) | variables
    return choose.choose(engine, project=project, variables=own, with_=map(str, overlays)).stack


# How many tasks a stack under test runs at a time, on every machine.
SLOTS = 4


def settings(folder: Path) -> dict[str, str]:
    """The settings of a stack under test: copies of DAGs and functions, free ports.

    DAGs and functions of the tests are among them; a test may save, edit and break them.

    :param folder: where the copies go.
    """
    for kind in ("dags", "lambdas"):
        for source in (ROOT / kind, ROOT / "tests" / kind):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / kind, dirs_exist_ok=True, ignore=ignored)
        # pytest's own folders are for their owner alone; the containers have users of their own.
        (folder / kind).chmod(0o755)
    shutil.copytree(ROOT / "tests" / "plugins", folder / "plugins")
    for empty in ("custom", "plugins"):
        (folder / empty).mkdir(exist_ok=True)
        (folder / empty).chmod(0o755)
    (folder / ".env").write_text(ENV_FILE)
    return {
        "WINDTUNNEL_IMAGE": os.environ.get("WINDTUNNEL_IMAGE", ROOT.name),
        "WEBSERVER_PORT": "0",
        "LOCALSTACK_PORT": "0",
        "PARALLELISM": str(SLOTS),
        # Published for the tests, which look into the database from outside: the address of a container
        # can be reached from a Linux host alone, a published port from any.
        "POSTGRES_PORT": "0",
        "DAGS_FOLDER": str(folder / "dags"),
        "LAMBDAS_FOLDER": str(folder / "lambdas"),
        # Empty, for the tests to fill: the checkout's own is there beside it.
        "CUSTOM_FOLDER": str(folder / "custom"),
        "PLUGINS_FOLDER": str(folder / "plugins"),
        "ENV_FILE": str(folder / ".env"),
    }


@contextmanager
def no_aws_settings_of_this_machine() -> Iterator[None]:
    """The clients of the tests must not go where a developer's own settings point."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        yield


def leftovers(stack: Stack) -> list[str]:
    """What is there of a project: containers, networks, volumes; folders; processes that work for it."""
    found = left_in_docker(stack.project) if isinstance(stack, ComposeStack) else _of_local(stack)
    return sorted(found) + [f"process {process}" for process in _processes(stack)]


def left_in_docker(project: str) -> list[str]:
    client = docker.from_env()
    label: dict[str, str | list[str] | bool] = {"label": f"{PROJECT_LABEL}={project}"}
    try:
        found = [
            f"container {container.name}" for container in client.containers.list(all=True, filters=label)
        ]
        found += [f"network {network.name}" for network in client.networks.list(filters=label)]
        found += [f"volume {volume.name}" for volume in client.volumes.list(filters=label)]
    finally:
        client.close()
    return found


def _of_local(stack: Stack) -> list[str]:
    assert isinstance(stack, ProcessStack)
    return [f"folder {stack.layout.folder}"] if stack.layout.folder.exists() else []


def _processes(stack: Stack) -> set[int]:
    found = set()
    if isinstance(stack, ProcessStack):
        found = {process.pid for process in processes.processes(stack.layout.run)}
    # A longer number is another project's.
    named = re.compile(rf"\b{re.escape(stack.project)}(?!\d)")
    for process in psutil.process_iter():
        try:
            works_for = process.environ().get("COMPOSE_PROJECT_NAME") == stack.project
            if works_for or any(map(named.search, process.cmdline())):
                found.add(process.pid)
        except psutil.Error:  # it has ended, or is another user's
            continue
    return found - {os.getpid()}


def remove(stack: Stack) -> None:
    """Remove everything of a project.

    :raises AssertionError: naming what is left.
    """
    stack.down(volumes=True)
    left = leftovers(stack)
    assert not left, f"{stack.project} leaves behind: {', '.join(left)}"


def remove_abandoned(engine: str) -> None:
    """Remove what earlier runs of these tests, of this checkout, have left because they were killed.

    :param engine: the name of the engine that is looked at.
    """
    for project in sorted(_projects(engine)):
        owner = re.fullmatch(r"windtunnel-[a-z0-9]+-(\d+)", project)
        if owner and not Path("/proc", owner[1]).exists():
            abandoned = choose.choose(engine, project=project).stack
            for process in _processes(abandoned):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            remove(abandoned)


def _projects(engine: str) -> set[str]:
    if engine == "local":
        return {folder.name for folder in (ROOT / ".windtunnel" / "local").glob("*")}
    client = docker.from_env()
    try:
        # Networks come first and go last, but do not know the folder: so the containers are asked.
        mine = f"{PROJECT_LABEL}.working_dir={ROOT}"
        containers = client.containers.list(all=True, filters={"label": mine})
        return {container.labels[PROJECT_LABEL] for container in containers}
    finally:
        client.close()


@contextmanager
def cleaned_up(stack: Stack) -> Iterator[Path]:
    """Afterwards, however the block ends: all logs are in one folder, and nothing of the project is left.

    :return: the folder for evidence.
    :raises AssertionError: naming what is left.
    """
    remove_abandoned(stack.engine)
    evidence = EVIDENCE / stack.project
    try:
        yield evidence
    finally:
        try:
            stack.write_logs(evidence)
        finally:
            remove(stack)


class StackUnderTest:
    """A running stack, seen from outside. Every look is new, as a test may just have restarted a part."""

    def __init__(self, stack: Stack, evidence: Path) -> None:
        self.stack = stack
        self.evidence = evidence
        self.dags = stack.settings.folder("DAGS_FOLDER")
        self.lambdas = stack.settings.folder("LAMBDAS_FOLDER")
        self.custom = stack.settings.folder("CUSTOM_FOLDER")

    @property
    def airflow(self) -> AirflowClient:
        return AirflowClient.of(self.stack)

    def aws(self, service: str) -> Any:
        """A boto3 client for the emulator."""
        host = self.stack.address("localstack").removeprefix("http://")
        return localstack_client.session.Session(localstack_host=host, region_name=REGION).client(service)

    def connect(self) -> Any:
        """A connection to the metadata database; each statement is its own transaction."""
        host, _, port = self.stack.address("postgres").partition(":")
        connection = psycopg2.connect(
            self.stack.ask("webserver", "database"), host=host, port=port, connect_timeout=5
        )
        connection.autocommit = True
        return connection

    def secret(self, name: str) -> str:
        """One of the stack's secrets."""
        return self.stack.exec("webserver", "sh", "-c", f'cat "$SECRETS_FOLDER/{name}"').strip()

    @property
    def logs_folder(self) -> str:
        """Airflow's log folder, as its services name it."""
        return self.stack.exec("scheduler", "sh", "-c", 'echo "$AIRFLOW_HOME/logs"').strip()

    def container(self, service: str) -> Container:
        """The service's container, or that of a replica: ``worker-1``."""
        client = docker.from_env()
        name, _, number = service.rpartition("-")
        own = [f"{SERVICE_LABEL}={name}", f"{NUMBER_LABEL}={number}"] if number.isdigit() else []
        labels = [f"{PROJECT_LABEL}={self.stack.project}", *(own or [f"{SERVICE_LABEL}={service}"])]
        (container,) = client.containers.list(
            all=True, filters={"label": [*labels, f"{ONE_OFF_LABEL}=False"]}
        )
        return container

    def health(self, service: str) -> str:
        """What the service's health check says now: empty when all is well."""
        if isinstance(self.stack, ProcessStack):
            found = next(found for found in self.stack.services() if found.name == service)
            return "" if found.ready else found.health_output or found.summary
        code, output = self.container(service).exec_run(
            ["python", "-m", "windtunnel.services.probes", service]
        )
        assert isinstance(output, bytes)
        return output.decode(errors="replace").strip() if code else ""

    def wait_for_health(self, service: str, timeout: float = 60.0) -> None:
        wait_until(
            f"{service} to be healthy",
            lambda: self.health(service) == "",
            timeout=timeout,
            hint=f"Logs are in {self.evidence}",
            # The container does not run yet.
            retry_on=(docker.errors.APIError,),
        )

    def processes(self, service: str) -> list[psutil.Process]:
        """What runs of a service of the local engine, the functions of LocalStack among it."""
        assert isinstance(self.stack, ProcessStack)
        return processes.processes(self.stack.layout.run, service)

    # To break it: the docker SDK for containers, signals and supervisord for processes.

    def kill(self, service: str) -> None:
        """SIGKILL for all of a service; it stays away until it is started."""
        if isinstance(self.stack, ProcessStack):
            # Before supervisord could start it again, and without a chance to end in order.
            for process in self.processes(service):
                process.suspend()
            self.stack.supervisor.calls.stopProcess(service, False)
            processes.end(self.stack.layout.run, service)
            gone = partial(self._is_gone, service)
            wait_until(f"{service} to be gone", gone, timeout=10)
        else:
            self.container(service).kill()

    def _is_gone(self, service: str) -> bool:
        return not any(one.label == service and one.state == "running" for one in self.stack.services())

    def start(self, service: str) -> None:
        if isinstance(self.stack, ProcessStack):
            self.stack.supervisor.calls.startProcess(service, False)
        else:
            self.container(service).start()

    def restart(self, service: str) -> None:
        """Stop it as one should, then start it."""
        if isinstance(self.stack, ProcessStack):
            self.stack.supervisor.calls.stopProcess(service)
            self.start(service)
        else:
            self.container(service).restart()

    @contextmanager
    def paused(self, service: str) -> Iterator[None]:
        """All of a service stands still during the block."""
        if isinstance(self.stack, ProcessStack):
            processes = self.processes(service)
            for process in processes:
                process.suspend()
            try:
                yield
            finally:
                for process in processes:
                    with suppress(psutil.NoSuchProcess):
                        process.resume()
            return
        container = self.container(service)
        container.pause()
        try:
            yield
        finally:
            container.unpause()
