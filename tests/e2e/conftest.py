"""One stack for all tests of this floor, started when the first test asks for it."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_docker import Services

from tests.support import Stack, cleaned_up, new_project, no_aws_settings_of_this_machine
from windtunnel.airflow_api import AirflowClient
from windtunnel.compose import Compose


@pytest.fixture(scope="session", autouse=True)
def _environment() -> Iterator[None]:
    with no_aws_settings_of_this_machine():
        yield


@pytest.fixture(scope="session")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Compose:
    return new_project("e2e", tmp_path_factory.mktemp("e2e"))


@pytest.fixture(scope="session")
def evidence(compose: Compose) -> Iterator[Path]:
    """The folder for logs and pictures. Its end is the stack's, also of one that did not come up.

    pytest-docker itself tears down only what has come up, so its own clean-up is left empty.
    """
    with cleaned_up(compose) as folder:
        yield folder


@pytest.fixture(scope="session")
def docker_compose_project_name(compose: Compose, evidence: Path) -> str:
    return compose.project


@pytest.fixture(scope="session")
def docker_compose_file(compose: Compose) -> list[str]:
    return compose.environment["COMPOSE_FILE"].split(os.pathsep)


@pytest.fixture(scope="session")
def docker_compose_command(compose: Compose) -> str:
    settings = (
        f"{name}={value}" for name, value in compose.environment.items() if os.environ.get(name) != value
    )
    return shlex.join(["env", *settings, "docker", "compose"])


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    return ["up --detach --wait"]


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    return []


@pytest.fixture(scope="session")
def airflow_stack(docker_services: Services, compose: Compose, evidence: Path) -> Stack:
    """The running stack."""
    return Stack(compose, evidence)


@pytest.fixture(scope="session")
def airflow(airflow_stack: Stack) -> AirflowClient:
    """Airflow's API, as the administrator."""
    return airflow_stack.airflow


@pytest.fixture(scope="session")
def lambda_client(airflow_stack: Stack) -> Any:
    return airflow_stack.aws("lambda")


@pytest.fixture(scope="session")
def logs_client(airflow_stack: Stack) -> Any:
    return airflow_stack.aws("logs")


@pytest.fixture(scope="session")
def s3_client(airflow_stack: Stack) -> Any:
    return airflow_stack.aws("s3")


@pytest.fixture(scope="session")
def metadata_db(airflow_stack: Stack) -> Iterator[Any]:
    """A connection to Airflow's metadata database."""
    connection = airflow_stack.connect()
    yield connection
    connection.close()
