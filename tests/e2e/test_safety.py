"""What the running stack lets no one do."""

import json
from typing import Any

import pytest
import urllib3

from tests.support import BUCKET, Stack
from windtunnel.airflow_api import AirflowApiError, AirflowClient
from windtunnel.compose import Compose

AIRFLOW_SERVICES = ["webserver", "scheduler", "dag-processor", "triggerer"]
LASTING_SERVICES = [*AIRFLOW_SERVICES, "postgres", "localstack"]


@pytest.mark.parametrize("path", ["api/v2/dags", "api/v2/connections", "api/v2/dags/demo-dag/dagRuns"])
def test_without_login_the_api_answers_401(airflow_stack: Stack, path: str) -> None:
    answer = urllib3.request("GET", f"{airflow_stack.compose.address('webserver')}/{path}", timeout=10)

    assert answer.status == 401


def test_a_wrong_password_is_refused(airflow_stack: Stack) -> None:
    address = airflow_stack.compose.address("webserver")

    with pytest.raises(AirflowApiError, match="refuses the login of admin: 401"):
        AirflowClient(address, "admin", "admin").dags()


@pytest.mark.parametrize("service", LASTING_SERVICES)
def test_no_process_is_root(airflow_stack: Stack, service: str) -> None:
    top = airflow_stack.container(service).top(ps_args="-eo uid,pid,args")

    assert top["Processes"]
    assert [process for process in top["Processes"] if process[0].strip() == "0"] == []


@pytest.mark.parametrize("service", LASTING_SERVICES)
def test_no_container_has_the_docker_socket_or_a_folder_of_aws(airflow_stack: Stack, service: str) -> None:
    container = airflow_stack.container(service)

    for path in ("/var/run/docker.sock", "/run/docker.sock", "/root/.aws/credentials", "/opt/airflow/.aws"):
        assert container.exec_run(["test", "-e", path]).exit_code == 1, path


def test_ports_are_bound_to_the_loopback_interface(airflow_stack: Stack) -> None:
    bindings = [
        (service, binding["HostIp"])
        for service in LASTING_SERVICES
        for bound in (airflow_stack.container(service).ports or {}).values()
        for binding in bound or []
    ]

    assert {service for service, _ in bindings} == {"webserver", "localstack", "postgres"}
    assert {address for _, address in bindings} == {"127.0.0.1"}


def test_secrets_cannot_be_read_from_a_containers_environment(airflow_stack: Stack) -> None:
    names = ("fernet_key", "jwt_secret", "api_secret_key", "postgres_password")
    files = [f"/run/secrets/windtunnel/{name}" for name in names]
    secrets = [airflow_stack.compose.exec("webserver", "cat", file).strip() for file in files]
    secrets.append(airflow_stack.compose.login()[1])
    assert all(secrets)

    for service in LASTING_SERVICES:
        environment = json.dumps(airflow_stack.container(service).attrs["Config"])
        assert not any(secret in environment for secret in secrets), service


def test_everything_is_there_that_the_function_and_the_logs_stand_on(
    lambda_client: Any, logs_client: Any, s3_client: Any
) -> None:
    assert {function["FunctionName"] for function in lambda_client.list_functions()["Functions"]} >= {
        "airflow-test",
        "test-plain",
    }
    configuration = lambda_client.get_function_configuration(FunctionName="airflow-test")
    assert configuration["State"] == "Active"
    groups = {group["logGroupName"] for group in logs_client.describe_log_groups()["logGroups"]}
    assert "/airflow/lambda/airflow-test" in groups
    assert s3_client.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] == "ap-southeast-2"


def test_a_second_stack_could_start_beside_this_one(airflow_stack: Stack, compose: Compose) -> None:
    """Nothing of it has a name or a port that another checkout's would have."""
    for service in LASTING_SERVICES:
        container = airflow_stack.container(service)
        assert str(container.name).startswith(f"{compose.project}-")
        for mount in container.attrs["Mounts"]:
            assert mount["Type"] == "bind" or mount["Name"].startswith(f"{compose.project}_"), mount
        assert set(container.attrs["NetworkSettings"]["Networks"]) == {f"{compose.project}_default"}
    ports = {compose.port("webserver", 8080), compose.port("localstack", 4566)}
    assert not ports & {8080, 4566}
