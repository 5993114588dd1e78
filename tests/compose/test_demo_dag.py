"""The shortest test of the stack: pytest-docker starts it, Airflow's client and boto3 look at it."""

from typing import Any

import boto3
import pytest
import urllib3
from airflow_client.client import ApiClient, Configuration
from airflow_client.client.api.dag_run_api import DagRunApi
from airflow_client.client.models.trigger_dag_run_post_body import TriggerDAGRunPostBody
from pytest_docker.plugin import Services

BUCKET = "airflow-lambda-logs"


@pytest.fixture(scope="session")
def runs(docker_services: Services, login: dict[str, str]) -> DagRunApi:
    """Airflow's API for runs of DAGs."""
    address = f"http://127.0.0.1:{docker_services.port_for('webserver', 8080)}"
    answer = urllib3.request("POST", f"{address}/auth/token", json=login, timeout=30.0)
    return DagRunApi(ApiClient(Configuration(host=address, access_token=answer.json()["access_token"])))


@pytest.fixture(scope="session")
def s3(docker_services: Services) -> Any:
    """S3, as LocalStack has it."""
    address = f"http://127.0.0.1:{docker_services.port_for('localstack', 4566)}"
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client("s3", endpoint_url=address, region_name="ap-southeast-2", **keys)


@pytest.mark.parametrize(
    ("fails_at", "state", "line"),
    [
        pytest.param(None, "success", "step 1 of 2", id="success"),
        pytest.param(1, "failed", "DemoFailure: failed at step 1 of 2", id="failure"),
    ],
)
def test_a_run_of_the_demo_and_its_encrypted_log(
    docker_services: Services, runs: DagRunApi, s3: Any, fails_at: int | None, state: str, line: str
) -> None:
    conf = {"max_len": 2, "interval": 0.1, "fails_at": fails_at}
    run_id = runs.trigger_dag_run("demo-dag", TriggerDAGRunPostBody(conf=conf)).dag_run_id

    def run_state() -> str:
        return runs.get_dag_run("demo-dag", run_id).state.value

    docker_services.wait_until_responsive(lambda: run_state() in ("success", "failed"), timeout=60, pause=0.2)
    assert run_state() == state

    key = f"dag_id=demo-dag/run_id={run_id}/task_id=demo-task/attempt=1.log"
    # Airflow uploads the log after the task has its state.
    s3.get_waiter("object_exists").wait(Bucket=BUCKET, Key=key, WaiterConfig={"Delay": 1, "MaxAttempts": 15})
    log = s3.get_object(Bucket=BUCKET, Key=key)
    assert log["ServerSideEncryption"] == "AES256"
    assert line in log["Body"].read().decode()
