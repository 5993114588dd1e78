"""What is saved takes effect by itself; what is broken is named and harms nothing else."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import StackUnderTest
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.stack.settings import ROOT
from windtunnel.waiting import wait_until

# The benchmark measures the bar of 2 s; here it is enough that no one had to do anything.
SOON = 15.0

DAG_FILE = """
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

with DAG(dag_id="test-edited", schedule=None, is_paused_upon_creation=False):
    EmptyOperator(task_id="{task_id}")
"""

# Airflow passes over files that do not speak of DAGs at all.
BROKEN_DAG_FILE = """
from airflow.sdk import DAG
import no_such_module_of_mine
"""

FUNCTION = """
def lambda_handler(event, context):
    return {answer!r}
"""


def test_the_next_task_uses_what_was_saved_in_custom(
    airflow_stack: StackUnderTest, airflow: AirflowClient, save: Callable[[Path, str], None]
) -> None:
    """Also if it replaces a module that the scheduler has imported."""
    module = airflow_stack.custom / "operators" / "lambda_function.py"
    ours = (ROOT / "custom" / "operators" / "lambda_function.py").read_text()

    def first_word() -> str:
        run = airflow.wait(airflow.trigger("test-once", {"payloads": [{"max_len": 0}]}), timeout=60)
        assert run.state == "success"
        records = airflow.task_log(run, "invoke").records
        return next(record.message.split()[0] for record in records if "Operator" in record.logger)

    assert first_word() == "Invoking"
    try:
        for word in ("Calling", "Asking"):
            save(module, ours.replace('f"Invoking {', f'f"{word} {{'))
            assert first_word() == word
    finally:
        module.unlink()
        module.parent.rmdir()
    assert first_word() == "Invoking"


def test_a_dag_is_seen_when_saved_and_again_when_edited(
    airflow_stack: StackUnderTest, airflow: AirflowClient, metadata_db: Any, save: Callable[[Path, str], None]
) -> None:
    path = airflow_stack.dags / "test_edited.py"

    def versions() -> int:
        with metadata_db.cursor() as cursor:
            cursor.execute("SELECT FROM dag_version WHERE dag_id = 'test-edited'")
            return len(cursor.fetchall())

    def task_ids_of_a_run() -> set[str]:
        run = airflow.wait(airflow.trigger("test-edited"), timeout=30)
        return {task.task_id for task in airflow.task_instances(run)}

    save(path, DAG_FILE.format(task_id="first"))
    wait_until(
        "the new DAG", lambda: any(dag.dag_id == "test-edited" for dag in airflow.dags()), timeout=SOON
    )
    assert task_ids_of_a_run() == {"first"}

    save(path, DAG_FILE.format(task_id="second"))
    wait_until("the DAG's second version", lambda: versions() == 2, timeout=SOON)
    assert task_ids_of_a_run() == {"second"}

    path.unlink()


def test_a_broken_dag_file_is_named_and_the_others_run(
    airflow_stack: StackUnderTest, airflow: AirflowClient, save: Callable[[Path, str], None]
) -> None:
    path = airflow_stack.dags / "broken.py"
    save(path, BROKEN_DAG_FILE)

    errors = wait_until("the import error", airflow.import_errors, timeout=SOON)

    assert [(error.filename, "no_such_module_of_mine" in error.stack_trace) for error in errors] == [
        ("broken.py", True)
    ]
    unhealthy = airflow_stack.health("dag-processor")
    assert "broken.py" in unhealthy
    assert "no_such_module_of_mine" in unhealthy
    conf = {"payloads": [{"max_len": 1, "interval": 0, "fails_at": None}]}
    assert airflow.wait(airflow.trigger("test-once", conf), timeout=30).state == "success"

    save(path, DAG_FILE.replace("test-edited", "test-broken").format(task_id="corrected"))

    wait_until("the import error to be gone", lambda: not airflow.import_errors(), timeout=SOON)
    assert airflow_stack.health("dag-processor") == ""
    path.unlink()


def answers(lambda_client: Any, name: str, answer: object) -> bool:
    return bool(json.loads(lambda_client.invoke(FunctionName=name)["Payload"].read()) == answer)


def test_a_function_is_deployed_when_saved_and_again_when_edited(
    airflow_stack: StackUnderTest, lambda_client: Any, save: Callable[[Path, str], None]
) -> None:
    source = airflow_stack.lambdas / "test_edited" / "lambda_function.py"

    for answer in ("first", "second"):
        save(source, FUNCTION.format(answer=answer))
        wait_until(
            f"the {answer} version of the function",
            partial(answers, lambda_client, "test-edited", answer),
            timeout=SOON,
            hint="See LocalStack's log.",
            retry_on=(
                lambda_client.exceptions.ResourceNotFoundException,
                lambda_client.exceptions.ResourceConflictException,
            ),
        )


def test_broken_settings_of_a_function_are_named_until_they_are_corrected(
    airflow_stack: StackUnderTest, lambda_client: Any, save: Callable[[Path, str], None]
) -> None:
    settings = airflow_stack.lambdas / "test_plain" / "function.json"

    save(settings, '{"Timeout": "long"}')

    def unhealthy() -> str:
        """Of this function: that of the test before may be on its way out."""
        said = airflow_stack.health("localstack")
        return said if "test_plain" in said else ""

    assert "Timeout" in wait_until("LocalStack to name it", unhealthy, timeout=SOON)
    assert answers(lambda_client, "test-plain", {"keys": []}), "the version before does not go on"

    save(settings, '{"Timeout": 7}')
    wait_until("LocalStack to be healthy", lambda: airflow_stack.health("localstack") == "", timeout=SOON)
    assert lambda_client.get_function_configuration(FunctionName="test-plain")["Timeout"] == 7


def test_a_function_that_was_wrong_from_the_beginning_can_be_corrected_and_is_gone_with_its_folder(
    airflow_stack: StackUnderTest, lambda_client: Any, save: Callable[[Path, str], None]
) -> None:
    folder = airflow_stack.lambdas / "test_wrong"
    configuration = partial(lambda_client.get_function_configuration, FunctionName="test-wrong")
    own = {"Environment": {"Variables": {"A": "1"}}, "MemorySize": 256}
    save(folder / "lambda_function.py", "def lambda_handler(event, context): return 1")
    save(folder / "function.json", json.dumps({"Runtime": "nodejs22.x", **own}))
    said = partial(airflow_stack.health, "localstack")
    wait_until("LocalStack to name the runtime", lambda: "nodejs22.x" in said(), timeout=SOON)

    save(folder / "function.json", json.dumps(own))
    wait_until("LocalStack to be healthy", lambda: said() == "", timeout=SOON)
    assert (configuration()["State"], configuration()["MemorySize"]) == ("Active", 256)

    def tags() -> Any:
        return lambda_client.get_function(FunctionName="test-wrong").get("Tags")

    # No call that updates a function takes tags.
    save(folder / "function.json", json.dumps({**own, "Tags": {"team": "a"}}))
    gone = lambda_client.exceptions.ResourceNotFoundException
    wait_until("the tag", lambda: tags() == {"team": "a"}, timeout=SOON, retry_on=(gone,))

    save(folder / "function.json", "{}")
    wait_until(
        "the settings to be gone",
        lambda: configuration()["MemorySize"] == 128,
        timeout=SOON,
        retry_on=(gone,),
    )
    assert not configuration().get("Environment", {}).get("Variables")

    shutil.rmtree(folder)
    with pytest.raises(gone):
        wait_until("the function to be gone", lambda: configuration() and False, timeout=SOON)
