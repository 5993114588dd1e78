"""The example DAGs do what they say."""

from typing import Any

from windtunnel.airflow_api import AirflowClient


def test_every_example_runs(airflow: AirflowClient, metadata_db: Any) -> None:
    confs = {
        "example-lambda": {"max_len": 1, "interval": 0},
        "example-lambda-deferrable": {"max_len": 2},
        "example-lambda-mapped": {},
    }
    runs = {dag_id: airflow.trigger(dag_id, conf) for dag_id, conf in confs.items()}

    ended = {dag_id: airflow.wait(run, timeout=120) for dag_id, run in runs.items()}

    assert {dag_id: str(run.state.value) for dag_id, run in ended.items()} == dict.fromkeys(confs, "success")
    with metadata_db.cursor() as cursor:
        cursor.execute(
            "SELECT dag_id, value FROM xcom WHERE key = 'return_value' AND run_id IN %s AND "
            "(task_id IN ('report', 'add_up') OR dag_id = 'example-lambda-deferrable')",
            (tuple(run.dag_run_id for run in runs.values()),),
        )
        assert dict(cursor.fetchall()) == {
            "example-lambda": "the function has written 1 lines",
            "example-lambda-deferrable": {"lines": 2},
            "example-lambda-mapped": sum(number % 4 for number in range(20)),
        }
