"""The amazon provider's operator for Batch, against jobs that really run."""

import pytest

from tests.run_logs import raised
from windtunnel.airflow_api.client import AirflowClient

pytestmark = pytest.mark.overlay("batch")


def test_the_providers_operator_runs_jobs_of_each_kind(airflow: AirflowClient) -> None:
    run = airflow.wait(airflow.trigger("test-batch"), timeout=120)

    states = {task.task_id: str(task.state.value) for task in airflow.task_instances(run) if task.state}
    green = dict.fromkeys(("green", "deferrable", "array", "retried"), "success")
    assert states == {**green, "red": "failed"}, "\n".join(airflow.failures(run))
    lines = [record.message for record in airflow.task_log(run, "green").records]
    assert any(line.endswith("from the job") for line in lines)
    assert "4" in raised(airflow.task_log(run, "red"))
