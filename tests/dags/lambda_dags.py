"""DAGs for the tests: what they do comes with each run's configuration."""

from typing import Any

from airflow.sdk import DAG, Param, task

from custom.operators.lambda_function import LambdaOperator

PARAMS = {
    "function_name": Param("airflow-test", type="string"),
    # One payload a try, the last one for all further tries; of mapped tasks one a task.
    "payloads": Param([{}], type="array"),
}
INVOKE: dict[str, Any] = {
    "task_id": "invoke",
    "function_name": "{{ params.function_name }}",
    "awslogs_group": "/airflow/lambda/{{ params.function_name }}",
    "aws_conn_id": None,
    "region_name": "ap-southeast-2",
}


def new_dag(dag_id: str) -> DAG:
    return DAG(dag_id=dag_id, schedule=None, params=PARAMS, is_paused_upon_creation=False)


def lambda_dag(dag_id: str, **arguments: Any) -> DAG:
    with new_dag(dag_id) as dag:
        LambdaOperator(
            payload="{{ (params.payloads[ti.try_number - 1:] or params.payloads[-1:])[0] | tojson }}",
            retry_delay=0,
            **INVOKE,
            **arguments,
        )
    return dag


def mapped_dag(dag_id: str, **arguments: Any) -> DAG:
    with new_dag(dag_id) as dag:

        @task
        def payloads(params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
            assert params is not None, "Airflow fills it in"
            chosen: list[dict[str, Any]] = params["payloads"]
            return chosen

        LambdaOperator.partial(**INVOKE, **arguments).expand(payload=payloads())
    return dag


once = lambda_dag("test-once")
impatient = lambda_dag("test-impatient", start_timeout=5)
retried = lambda_dag("test-retried", retries=1)
deferred = lambda_dag("test-deferred", deferrable=True)
deferred_retried = lambda_dag("test-deferred-retried", deferrable=True, retries=1)
mapped = mapped_dag("test-mapped")
mapped_deferred = mapped_dag("test-mapped-deferred", deferrable=True)
