"""The API by which tasks talk to Airflow, in the versions that the engine needs."""

import urllib.error
import urllib.request

import pytest

from tests.support import StackUnderTest
from windtunnel.airflow_api.client import AirflowClient

# A route of both versions that wants a task's token.
ROUTE = "/execution/variables/any"
OLDEST = "2025-04-11"


def status(airflow: AirflowClient, version: str | None) -> int:
    headers = {"Airflow-API-Version": version} if version else {}
    request = urllib.request.Request(airflow.address + ROUTE, headers=headers)  # noqa: S310
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=10)  # noqa: S310
    return error.value.code


def test_the_newest_version_is_there(airflow: AirflowClient) -> None:
    assert status(airflow, None) == 401


@pytest.mark.engine("compose")
def test_older_versions_are_there_for_other_images(airflow: AirflowClient) -> None:
    assert status(airflow, OLDEST) == 401


@pytest.mark.engine("local")
def test_no_older_version_is_built_where_nobody_speaks_it(airflow: AirflowClient) -> None:
    assert status(airflow, OLDEST) == 404


@pytest.mark.engine("local")
def test_services_are_forked_from_the_fork_server(airflow_stack: StackUnderTest) -> None:
    assert airflow_stack.stack.warnings() == []
