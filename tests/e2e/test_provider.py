"""The amazon provider's own hooks, operators and sensors work beside ours, on the same stack."""

import json
from typing import Any

from tests.run_logs import raised
from tests.support import BUCKET, StackUnderTest
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.waiting import wait_until


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


def test_its_deferrable_sensors_and_operators_defer_and_come_back(
    airflow: AirflowClient, airflow_stack: StackUnderTest, metadata_db: Any
) -> None:
    s3, sqs, functions = (airflow_stack.aws(name) for name in ("s3", "sqs", "lambda"))
    queue = sqs.create_queue(QueueName="test-provider")["QueueUrl"]
    run = airflow.trigger("test-provider-deferrable")
    try:

        def deferred() -> bool:
            states = {task.task_id: task.state for task in airflow.task_instances(run)}
            return all(states[task_id] == "deferred" for task_id in ("s3_key", "sqs_message"))

        wait_until("both sensors to be deferred", deferred, timeout=60)
        s3.put_object(Bucket=BUCKET, Key=f"test/{run.dag_run_id}", Body=b"here")
        sqs.send_message(QueueUrl=queue, MessageBody="here")

        run = airflow.wait(run, timeout=60)

        assert run.state == "success", "\n".join(airflow.failures(run))
        with metadata_db.cursor() as cursor:
            cursor.execute(
                "SELECT task_id, value FROM xcom WHERE run_id = %s AND key = 'return_value'"
                " AND task_id IN ('call_it', 'object_storage')",
                (run.dag_run_id,),
            )
            assert dict(cursor.fetchall()) == {"call_it": '{"three": 3}', "object_storage": "stored"}
    finally:
        sqs.delete_queue(QueueUrl=queue)
        functions.delete_function(FunctionName="test-created")
        for key in (f"test/{run.dag_run_id}", f"test/object-{run.dag_run_id}"):
            s3.delete_object(Bucket=BUCKET, Key=key)
