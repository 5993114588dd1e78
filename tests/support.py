"""The stack under test, and how a test run leaves the machine as it found it."""

import os
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import localstack_client.session
import psycopg2
import pytest
from docker.models.containers import Container

from windtunnel.airflow_api import AirflowClient
from windtunnel.compose import PROJECT_LABEL, ROOT, SERVICE_LABEL, Compose
from windtunnel.waiters import wait_until

EVIDENCE = ROOT / ".windtunnel" / "evidence"
REGION = "ap-southeast-2"
BUCKET = "airflow-lambda-logs"


def new_project(floor: str, folder: Path, files: Sequence[Path] = ()) -> Compose:
    """The stack of this checkout as a project of its own, which any number of others may run beside.

    Nothing is started. DAGs and functions are copies, those of the tests among them, so that a test may save,
    edit and break them.

    :param floor: a part of the project's name.
    :param folder: where the copies go.
    :param files: compose files to lay over the stack's own.
    """
    for kind in ("dags", "lambdas"):
        for source in (ROOT / kind, ROOT / "tests" / kind):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / kind, dirs_exist_ok=True, ignore=ignored)
        # pytest's own folders are for their owner alone; the containers have users of their own.
        (folder / kind).chmod(0o755)
    (folder / "custom").mkdir()
    (folder / "custom").chmod(0o755)
    settings = {
        "WINDTUNNEL_IMAGE": os.environ.get("WINDTUNNEL_IMAGE", ROOT.name),
        "WEBSERVER_PORT": "0",
        "LOCALSTACK_PORT": "0",
        # Published for the tests, which look into the database from outside: the address of a container
        # can be reached from a Linux host alone, a published port from any.
        "POSTGRES_PORT": "0",
        "DAGS_FOLDER": str(folder / "dags"),
        "LAMBDAS_FOLDER": str(folder / "lambdas"),
        # Empty, for the tests to fill: the checkout's own is there beside it.
        "CUSTOM_FOLDER": str(folder / "custom"),
    }
    return Compose(f"windtunnel-{floor}-{os.getpid()}", settings, files)


@contextmanager
def no_aws_settings_of_this_machine() -> Iterator[None]:
    """The clients of the tests must not go where a developer's own settings point."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        yield


def leftovers(project: str) -> list[str]:
    """What is there of a project: containers, networks, volumes, processes here that work for it."""
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
    return sorted(found) + [f"process {process}" for process in _processes(project)]


def _processes(project: str) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            environment = (folder / "environ").read_bytes()
        except OSError:  # it has ended, or is another user's
            continue
        # A longer number is another project's.
        named = re.search(rb"\b%s(?!\d)" % re.escape(project.encode()), command)
        works_for = f"COMPOSE_PROJECT_NAME={project}\0".encode() in environment or named
        if works_for and int(folder.name) != os.getpid():
            yield int(folder.name)


def remove(compose: Compose) -> None:
    """Remove everything of a project, at once: nothing of it is kept, so nothing needs time to stop.

    :raises AssertionError: naming what is left.
    """
    compose.run("docker", "compose", "kill", what="killing the stack")
    compose.down(volumes=True)
    left = leftovers(compose.project)
    assert not left, f"{compose.project} leaves behind: {', '.join(left)}"


def remove_abandoned() -> None:
    """Remove what earlier runs of these tests, of this checkout, have left because they were killed."""
    client = docker.from_env()
    try:
        # Networks come first and go last, but do not know the folder: so the containers are asked.
        mine = f"{PROJECT_LABEL}.working_dir={ROOT}"
        containers = client.containers.list(all=True, filters={"label": mine})
        projects = {container.labels[PROJECT_LABEL] for container in containers}
    finally:
        client.close()
    for project in sorted(projects):
        owner = re.fullmatch(r"windtunnel-[a-z0-9]+-(\d+)", project)
        if owner and not Path("/proc", owner[1]).exists():
            for process in _processes(project):
                os.kill(process, signal.SIGKILL)
            remove(Compose(project))


@contextmanager
def cleaned_up(compose: Compose) -> Iterator[Path]:
    """Afterwards, however the block ends: all logs are in one folder, and nothing of the project is left.

    :return: the folder for evidence.
    :raises AssertionError: naming what is left.
    """
    remove_abandoned()
    evidence = EVIDENCE / compose.project
    try:
        yield evidence
    finally:
        try:
            compose.write_logs(evidence)
        finally:
            remove(compose)


class Stack:
    """A running stack, seen from outside. Every look is new, as a test may just have restarted a part."""

    def __init__(self, compose: Compose, evidence: Path) -> None:
        self.compose = compose
        self.evidence = evidence
        self.dags = Path(compose.environment["DAGS_FOLDER"])
        self.lambdas = Path(compose.environment["LAMBDAS_FOLDER"])
        self.custom = Path(compose.environment["CUSTOM_FOLDER"])

    @property
    def airflow(self) -> AirflowClient:
        return AirflowClient.of(self.compose)

    def aws(self, service: str) -> Any:
        """A boto3 client for the emulator."""
        host = self.compose.address("localstack").removeprefix("http://")
        return localstack_client.session.Session(localstack_host=host, region_name=REGION).client(service)

    def connect(self) -> Any:
        """A connection to the metadata database; each statement is its own transaction."""
        dsn = self.compose.exec("webserver", "cat", "/run/secrets/windtunnel/sql_alchemy_conn")
        dsn = dsn.replace("postgresql+psycopg2:", "postgresql:")
        host, _, port = self.compose.address("postgres").partition(":")
        connection = psycopg2.connect(dsn, host=host, port=port, connect_timeout=5)
        connection.autocommit = True
        return connection

    def container(self, service: str) -> Container:
        """The service's container, for the docker SDK to break."""
        client = docker.from_env()
        labels = [f"{PROJECT_LABEL}={self.compose.project}", f"{SERVICE_LABEL}={service}"]
        (container,) = client.containers.list(
            all=True, filters={"label": [*labels, "com.docker.compose.oneoff=False"]}
        )
        return container

    def health(self, service: str) -> str:
        """What the service's health check says now: empty when all is well."""
        code, output = self.container(service).exec_run(["python", "-m", "windtunnel.health", service])
        assert isinstance(output, bytes)
        return output.decode(errors="replace").strip() if code else ""

    def wait_for_health(self, service: str, timeout: float = 60.0) -> None:
        wait_until(
            f"{service} to be healthy",
            lambda: self.health(service) == "",
            timeout=timeout,
            hint=f"Logs are in {self.evidence}",
        )
