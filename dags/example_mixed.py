"""Two executors in one DAG: light tasks in the scheduler, a heavy one in a container of its own size.

It is there with an overlay that has an executor: `./windtunnel up --with ecs`, `batch` or
`lambda-executor`, and `./windtunnel run example-mixed --follow`.
"""

from airflow.configuration import conf
from airflow.sdk import DAG, task

# Each with its name before its class; the first one is for tasks that name none.
EXECUTORS = [name.partition(":")[0] for name in conf.get("core", "executor").split(",")]

# The same size, in the words of each executor's service.
TASK_OF_ECS = {"overrides": {"cpu": "2048", "memory": "4096", "containerOverrides": [{"name": "airflow"}]}}
SIZE = {
    "ecs": TASK_OF_ECS,
    "lambda": TASK_OF_ECS,
    "batch": {
        "containerOverrides": {
            "resourceRequirements": [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "4096"}]
        }
    },
}

# Airflow refuses a DAG that names an executor which this stack does not have.
if (HEAVY := EXECUTORS[0]) in SIZE:
    with DAG("example-mixed", schedule=None, doc_md=__doc__, tags=["example"]):

        @task(executor="local")
        def choose() -> int:
            """Return how much there is to do."""
            return 1_000_000

        @task(executor=HEAVY, executor_config=SIZE[HEAVY])
        def add_up(number: int) -> int:
            """Do it."""
            return sum(range(number))

        @task(executor="local")
        def report(total: int) -> str:
            """Say what came of it."""
            return f"it comes to {total}"

        report(add_up(choose()))  # type: ignore[arg-type]
