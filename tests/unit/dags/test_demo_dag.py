"""The demo DAG, as Airflow reads it."""

import json
import runpy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.definitions.param import process_params

from custom.arguments import check_arguments
from custom.operators.lambda_function import LambdaOperator
from custom.payload import checked_payload

PATH = Path(__file__).parents[3] / "dags" / "demo_dag.py"


@pytest.fixture
def dag() -> DAG:
    made = runpy.run_path(str(PATH))["dag"]
    assert isinstance(made, DAG)
    return made


@pytest.fixture
def task(dag: DAG) -> LambdaOperator:
    (task,) = dag.tasks
    assert isinstance(task, LambdaOperator)
    return task


def test_names_and_schedule(dag: DAG, task: LambdaOperator) -> None:
    assert dag.dag_id == "demo-dag"
    assert dag.schedule == timedelta(seconds=30)
    assert dag.start_date is not None
    assert dag.start_date < datetime.now(UTC)
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    assert task.task_id == "demo-task"


def test_a_failed_run_shows_as_failed(task: LambdaOperator) -> None:
    assert task.retries == 0


def test_function_and_group(task: LambdaOperator) -> None:
    assert task.function_name == "airflow-test"
    assert task.awslogs_group == "/airflow/lambda/airflow-test"
    check_arguments(task)


@pytest.mark.parametrize(
    ("conf", "payload"),
    [
        ({}, {"max_len": 6, "interval": 1}),
        ({"max_len": 1, "interval": 0, "fails_at": None}, {"max_len": 1, "interval": 0, "fails_at": None}),
        ({"fails_at": 2}, {"max_len": 6, "interval": 1, "fails_at": 2}),
        ({"interval": 0.5}, {"max_len": 6, "interval": 0.5}),
    ],
)
def test_configuration_of_a_run_overrides_the_payload(
    dag: DAG, task: LambdaOperator, conf: dict[str, Any], payload: dict[str, Any]
) -> None:
    params = process_params(dag, task, conf, suppress_exception=False)

    rendered = task.render_template(task.payload, {"params": params}, dag.get_template_env())

    assert checked_payload(rendered) == payload


@pytest.mark.parametrize(
    "conf", [{"max_len": -1}, {"max_len": "many"}, {"max_len": 1.5}, {"interval": -1}], ids=json.dumps
)
def test_configuration_out_of_range_is_refused(dag: DAG, task: LambdaOperator, conf: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(conf))):
        process_params(dag, task, conf, suppress_exception=False)
