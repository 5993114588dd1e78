"""DAGs for the tests: what they do comes with each run's configuration."""

from airflow.sdk import DAG, Param

from custom.operators.lambda_function import LambdaOperator

PARAMS = {
    "function_name": Param("airflow-test", type="string"),
    # One payload a try; the last one is for all further tries.
    "payloads": Param([{}], type="array"),
}


def lambda_dag(dag_id: str, retries: int) -> DAG:
    with DAG(dag_id=dag_id, schedule=None, params=PARAMS, is_paused_upon_creation=False) as dag:
        LambdaOperator(
            task_id="invoke",
            function_name="{{ params.function_name }}",
            awslogs_group="/airflow/lambda/{{ params.function_name }}",
            payload="{{ (params.payloads[ti.try_number - 1:] or params.payloads[-1:])[0] | tojson }}",
            aws_conn_id=None,
            region_name="ap-southeast-2",
            retries=retries,
            retry_delay=0,
        )
    return dag


once = lambda_dag("test-once", retries=0)
retried = lambda_dag("test-retried", retries=1)
