"""One stack for all tests of this floor, started when the first test asks for it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import Stack, cleaned_up, new_project, no_aws_settings_of_this_machine
from windtunnel.airflow_api import AirflowClient


@pytest.fixture(scope="session", autouse=True)
def _environment() -> Iterator[None]:
    with no_aws_settings_of_this_machine():
        yield


@pytest.fixture(scope="session")
def airflow_stack(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Stack]:
    """The running stack. It is taken down at the end, also where it did not come up."""
    folder = tmp_path_factory.mktemp("e2e")
    engine = new_project("e2e", folder, engine=pytestconfig.getoption("--engine"))
    with cleaned_up(engine) as evidence:
        engine.up()
        yield Stack(engine, evidence)


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
