"""The example DAGs do what they say."""

from typing import Any

import pytest
from airflow_client.client.models.dag_run_response import DAGRunResponse

from windtunnel.airflow_api.client import AirflowClient

pytestmark = pytest.mark.executor


def test_every_example_runs(
    airflow: AirflowClient, metadata_db: Any, example_runs: dict[str, DAGRunResponse]
) -> None:
    ended = {dag_id: airflow.wait(run, timeout=120) for dag_id, run in example_runs.items()}

    for run in ended.values():
        assert run.state == "success", "\n".join(airflow.failures(run))
    with metadata_db.cursor() as cursor:
        cursor.execute(
            "SELECT dag_id, value FROM xcom WHERE key = 'return_value' AND run_id IN %s AND "
            "(task_id IN ('report', 'add_up') OR dag_id = 'example-lambda-deferrable')",
            (tuple(run.dag_run_id for run in ended.values()),),
        )
        assert dict(cursor.fetchall()) == {
            "example-lambda": "the function has written 1 lines",
            "example-lambda-deferrable": {"lines": 2},
            "example-lambda-mapped": sum(number % 4 for number in range(20)),
        }
