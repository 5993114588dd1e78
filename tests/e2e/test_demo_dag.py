"""The demo: fails at random, does what a run's configuration says, and refuses a wrong one."""

import json
from typing import Any

import pytest

from windtunnel.airflow_api.client import AirflowApiError, AirflowClient

pytestmark = pytest.mark.executor

TASK = "demo-task"


@pytest.mark.parametrize(
    ("conf", "reason"),
    [({"max_len": "x"}, "max_len"), ({"max_len": -1}, "max_len"), ({"interval": "fast"}, "interval")],
)
def test_a_wrong_conf_is_refused_with_the_reason(
    airflow: AirflowClient, conf: dict[str, Any], reason: str
) -> None:
    with pytest.raises(AirflowApiError, match=reason) as refused:
        airflow.trigger("demo-dag", conf)

    assert ": 400 " in str(refused.value) or ": 422 " in str(refused.value)


def test_a_wrong_fails_at_is_refused_by_the_function(airflow: AirflowClient) -> None:
    run = airflow.wait(
        airflow.trigger("demo-dag", {"max_len": 1, "interval": 0, "fails_at": "soon"}), timeout=90
    )

    assert run.state == "failed"
    assert any(
        "'fails_at' must be a whole number" in record.message
        for record in airflow.task_log(run, TASK).records
    )


def test_fails_at_random(lambda_client: Any) -> None:
    """By chance alone all 40 would be equal once in 10^8 times: it fails at 0 or 1 of 0..4."""
    failed = [
        "FunctionError"
        in lambda_client.invoke(
            FunctionName="airflow-test", Payload=json.dumps({"max_len": 2, "interval": 0})
        )
        for _ in range(40)
    ]

    assert set(failed) == {True, False}
