"""More tasks than there are slots: one DAG whose tasks keep their slots, and one whose tasks are short."""

from airflow.sdk import DAG, PokeReturnValue, Variable, task

from custom.operators.lambda_function import LambdaOperator

with DAG("test-slots", schedule=None, max_active_tasks=32, is_paused_upon_creation=False):

    @task.sensor(poke_interval=0.5, mode="poke", timeout=300)
    def hold(number: int) -> PokeReturnValue:
        """Wait for a variable of Airflow."""
        return PokeReturnValue(is_done=Variable.get("test_slots_open", default=None) is not None)

    hold.expand(number=list(range(8)))

with DAG("test-many", schedule=None, max_active_tasks=32, is_paused_upon_creation=False):
    LambdaOperator.partial(
        task_id="invoke", function_name="airflow-test", awslogs_group="/airflow/lambda/airflow-test"
    ).expand(payload=[{"max_len": 3, "interval": 0, "fails_at": None} for _ in range(20)])
