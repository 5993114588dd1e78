"""The amazon provider's own hook and operator for Lambda work beside ours, on the same stack."""

import json
from typing import Any

from tests.run_logs import raised
from windtunnel.airflow_api.client import AirflowClient


def test_the_providers_hook_and_operator_work_beside_ours(airflow: AirflowClient, metadata_db: Any) -> None:
    run = airflow.wait(airflow.trigger("test-provider"), timeout=90)

    states = {task.task_id: str(task.state.value) for task in airflow.task_instances(run) if task.state}
    assert states == {
        "operator": "success",
        "operator_failing": "failed",
        "operator_event": "success",
        "hook": "success",
        "ours": "success",
    }
    assert "Lambda function execution resulted in error" in raised(airflow.task_log(run, "operator_failing"))
    with metadata_db.cursor() as cursor:
        cursor.execute(
            "SELECT task_id, value FROM xcom WHERE run_id = %s AND key = 'return_value'", (run.dag_run_id,)
        )
        results = dict(cursor.fetchall())
    assert (
        json.loads(results["operator"])
        == json.loads(results["hook"].replace("two", "one"))
        == {"keys": ["one"]}
    )
    ours = set(results["ours"]["keys"])
    assert ours == {"one", "group_name", "stream_name", "airflow_relay"}
