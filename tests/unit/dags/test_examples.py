"""Which examples each stack has: those whose executor it has, and none that Airflow refuses."""

from pathlib import Path

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag

from tests.unit.airflow_executors import configure_executors

ROOT = Path(__file__).parents[3]

EVERYWHERE = {
    "demo-dag",
    "example-celery",
    "example-lambda",
    "example-lambda-deferrable",
    "example-lambda-mapped",
    "example-sqs-message",
}


@pytest.mark.parametrize(
    ("overlay", "more"),
    [
        (None, set()),
        ("ecs-agent", set()),
        ("ecs", {"example-ecs", "example-ecs-operator", "example-remote", "example-mixed"}),
        ("batch", {"example-batch", "example-batch-operator", "example-mixed"}),
        ("lambda-executor", {"example-lambda-executor", "example-mixed"}),
        ("celery", {"example-shared-folder"}),
    ],
)
def test_a_stack_has_the_examples_that_it_can_run(
    monkeypatch: pytest.MonkeyPatch, overlay: str | None, more: set[str]
) -> None:
    executors = "LocalExecutor"
    if overlay:
        services = yaml.safe_load((ROOT / "overlays" / f"{overlay}.yml").read_text())["services"]
        executors = services["dag-processor"]["environment"].get("AIRFLOW__CORE__EXECUTOR", executors)
    configure_executors(monkeypatch, executors)

    found = DagBag(ROOT / "dags")

    assert found.import_errors == {}
    assert set(found.dags) == EVERYWHERE | more
