"""What the running stack lets no one do."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3

from tests.support import BUCKET, StackUnderTest
from windtunnel.airflow_api.client import AirflowApiError, AirflowClient
from windtunnel.local.stack import ProcessStack
from windtunnel.stack.settings import ROOT

AIRFLOW_SERVICES = ["webserver", "scheduler", "dag-processor", "triggerer"]
LASTING_SERVICES = [*AIRFLOW_SERVICES, "postgres", "localstack"]


def environments(stack: StackUnderTest, service: str) -> list[dict[str, str]]:
    """The variables of a service's processes, except of those whose own title overwrites them."""
    found = []
    for process in stack.processes(service):
        with suppress(psutil.Error):
            environment = process.environ()
            if "TMPDIR" in environment:
                found.append(environment)
    return found


def listening(process: psutil.Process) -> set[str]:
    """The addresses that a process listens on."""
    with suppress(psutil.Error):
        connections = process.net_connections("inet")
        return {found.laddr.ip for found in connections if found.status == psutil.CONN_LISTEN}
    return set()


def open_for_writing(process: psutil.Process) -> set[str]:
    """The files that a process has open and may write to."""
    with suppress(psutil.Error):
        return {file.path for file in process.open_files() if file.mode != "r"}
    return set()


@pytest.mark.parametrize("path", ["api/v2/dags", "api/v2/connections", "api/v2/dags/demo-dag/dagRuns"])
def test_without_login_the_api_answers_401(airflow_stack: StackUnderTest, path: str) -> None:
    answer = urllib3.request("GET", f"{airflow_stack.stack.address('webserver')}/{path}", timeout=10)

    assert answer.status == 401


def test_a_wrong_password_is_refused(airflow_stack: StackUnderTest) -> None:
    address = airflow_stack.stack.address("webserver")

    with pytest.raises(AirflowApiError, match="refuses the login of admin: 401"):
        AirflowClient(address, "admin", "admin").dags()


@pytest.mark.engine("compose")
@pytest.mark.parametrize("service", LASTING_SERVICES)
def test_no_process_is_root(airflow_stack: StackUnderTest, service: str) -> None:
    top = airflow_stack.container(service).top(ps_args="-eo uid,pid,args")

    assert top["Processes"]
    assert [process for process in top["Processes"] if process[0].strip() == "0"] == []


@pytest.mark.engine("compose")
@pytest.mark.parametrize("service", LASTING_SERVICES)
def test_no_container_has_the_docker_socket_or_a_folder_of_aws(
    airflow_stack: StackUnderTest, service: str
) -> None:
    container = airflow_stack.container(service)

    for path in ("/var/run/docker.sock", "/run/docker.sock", "/root/.aws/credentials", "/opt/airflow/.aws"):
        assert container.exec_run(["test", "-e", path]).exit_code == 1, path


@pytest.mark.engine("local")
def test_processes_get_nothing_of_this_shell_and_no_folder_of_aws(airflow_stack: StackUnderTest) -> None:
    stack = airflow_stack.stack
    assert isinstance(stack, ProcessStack)

    found = [each for service in LASTING_SERVICES for each in environments(airflow_stack, service)]

    assert len(found) >= len(LASTING_SERVICES) - 1, "the web server alone has a title from the start"
    for environment in found:
        if "AWS_LAMBDA_FUNCTION_NAME" in environment:  # as on AWS it has no HOME
            assert environment["AWS_CONFIG_FILE"] == environment["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
        else:
            assert Path(environment["HOME"]).is_relative_to(stack.layout.run), environment
            assert not Path(environment["HOME"], ".aws").exists()
        # pytest sets it for its own process, from which the stack was started.
        assert "PYTEST_CURRENT_TEST" not in environment


def test_ports_are_bound_to_the_loopback_interface(airflow_stack: StackUnderTest) -> None:
    if isinstance(airflow_stack.stack, ProcessStack):
        bindings = [
            (service, address)
            for service in LASTING_SERVICES
            for process in airflow_stack.processes(service)
            for address in listening(process)
        ]
    else:
        bindings = [
            (service, binding["HostIp"])
            for service in LASTING_SERVICES
            for bound in (airflow_stack.container(service).ports or {}).values()
            for binding in bound or []
        ]

    assert {service for service, _ in bindings} == {"webserver", "localstack", "postgres"}
    assert {address for _, address in bindings} == {"127.0.0.1"}


def test_secrets_cannot_be_read_from_an_environment(airflow_stack: StackUnderTest) -> None:
    names = ("fernet_key", "jwt_secret", "api_secret_key", "postgres_password")
    secrets = [airflow_stack.secret(name) for name in names]
    secrets.append(airflow_stack.stack.login()[1])
    assert all(secrets)

    for service in LASTING_SERVICES:
        if isinstance(airflow_stack.stack, ProcessStack):
            environment = json.dumps(environments(airflow_stack, service))
        else:
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


@pytest.mark.engine("compose")
def test_a_second_stack_could_start_beside_this_one(airflow_stack: StackUnderTest) -> None:
    """Nothing of it has a name or a port that another checkout's would have."""
    project = airflow_stack.stack.project
    for service in LASTING_SERVICES:
        container = airflow_stack.container(service)
        assert str(container.name).startswith(f"{project}-")
        for mount in container.attrs["Mounts"]:
            assert mount["Type"] == "bind" or mount["Name"].startswith(f"{project}_"), mount
        assert set(container.attrs["NetworkSettings"]["Networks"]) == {f"{project}_default"}


def test_its_ports_are_its_own(airflow_stack: StackUnderTest) -> None:
    ports = {airflow_stack.stack.port("webserver"), airflow_stack.stack.port("localstack")}
    assert not ports & {8080, 4566}


@pytest.mark.engine("local")
def test_nothing_is_written_outside_of_the_checkout(airflow_stack: StackUnderTest) -> None:
    """By what its processes hold open for writing, shared memory in a common folder included."""
    written = {
        path
        for service in LASTING_SERVICES
        for process in airflow_stack.processes(service)
        for path in open_for_writing(process)
    }
    assert {path for path in written if not Path(path).is_relative_to(ROOT)} == set()
