"""What a repository's own .env and plugins give to DAGs."""

import os
from typing import Any

from airflow.sdk import DAG, BaseHook, Variable, task
from every_year import EveryYear

with DAG(dag_id="test-settings", schedule=EveryYear(), catchup=False, is_paused_upon_creation=False):

    @task
    def settings() -> dict[str, Any]:
        """Return what a task sees."""
        from airflow.configuration import conf

        connection = BaseHook.get_connection("of_env")
        return {
            "variable": Variable.get("of_env", deserialize_json=True),
            "connection": [connection.host, connection.password],
            "option": conf.getint("core", "max_num_rendered_ti_fields_per_task"),
            "own": os.environ["NAME_OF_MY_OWN"],
            "proxy": os.environ["ALL_PROXY"],
        }

    settings()


with DAG(dag_id="test-xcom-in-s3", schedule=None):

    @task
    def make(length: int) -> str:
        """Return a text of so many letters."""
        return "x" * length

    @task
    def measure(text: str) -> list[Any]:
        """Return what is left of a text on its way here."""
        return [len(text), text.strip("x")]

    for name, size in (("small", 10), ("large", 2_000_000)):
        made: Any = make.override(task_id=f"make_{name}")(size)
        measure.override(task_id=f"measure_{name}")(made)
