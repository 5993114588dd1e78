"""One stack for all tests of this floor, started when the first test asks for it."""

from collections.abc import Iterator
from typing import Any

import pytest
from airflow_client.client.models.dag_run_response import DAGRunResponse

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


# The configuration of a run of each example DAG.
EXAMPLES: dict[str, dict[str, Any]] = {
    "example-lambda": {"max_len": 1, "interval": 0},
    "example-lambda-deferrable": {"max_len": 2},
    "example-lambda-mapped": {},
}


@pytest.fixture(scope="session", autouse=True)
def example_runs(request: pytest.FixtureRequest) -> dict[str, DAGRunResponse]:
    """A run of each example, started before the first test, as they take long: 20 tasks."""
    if not any(item.name == "test_every_example_runs" for item in request.session.items):
        return {}
    airflow: AirflowClient = request.getfixturevalue("airflow")
    return {dag_id: airflow.trigger(dag_id, conf) for dag_id, conf in EXAMPLES.items()}


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
