"""Every 30 seconds: run the demo function, which counts, logs, and fails about every second time.

Trigger it with a configuration to override: ``{"max_len": 3, "interval": 0.5, "fails_at": 2}``. With
``"fails_at": null`` the run succeeds; without the key the function draws where to fail.
"""

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Param

from custom.operators.lambda_function import LambdaOperator

# The schedule begins when the stack is up: a run that you trigger right after that starts at once, and need
# not wait for a scheduled one (max_active_runs).
STACK_STARTED = datetime.fromtimestamp(int(os.environ.get("WINDTUNNEL_STARTED", "0")), UTC)

with DAG(
    dag_id="demo-dag",
    schedule=timedelta(seconds=30),
    start_date=STACK_STARTED + timedelta(seconds=20),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["demo"],
    params={
        "max_len": Param(6, type="integer", minimum=0, description="How many steps, one log line each"),
        "interval": Param(1, type="number", minimum=0, description="Seconds after each step"),
    },
) as dag:
    LambdaOperator(
        task_id="demo-task",
        function_name="airflow-test",
        awslogs_group="/airflow/lambda/airflow-test",
        # Params are what the run's configuration has overridden, and its further keys (fails_at) too.
        payload="{{ params | tojson }}",
    )
