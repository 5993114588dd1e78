"""A Lambda function that runs for long, and a task that waits for it without holding a worker slot.

The triggerer copies the function's lines into the task log meanwhile.
"""

from airflow.sdk import DAG

from custom.operators.lambda_function import LambdaOperator

with DAG(dag_id="example-lambda-deferrable", schedule=None, doc_md=__doc__, tags=["example"]):
    LambdaOperator(
        task_id="count",
        function_name="airflow-test",
        awslogs_group="/airflow/lambda/airflow-test",
        payload={"max_len": 20, "interval": 1, "fails_at": None},
        conf_overrides=True,
        deferrable=True,
    )
