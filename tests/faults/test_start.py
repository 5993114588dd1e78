"""A start that fails names the part; what is abandoned is removed, what runs is not."""

from pathlib import Path

import pytest

from tests.support import StackUnderTest, cleaned_up, new_project, remove_abandoned
from windtunnel.diagnosis.status import Report
from windtunnel.stack import choose
from windtunnel.stack.base import Stack
from windtunnel.stack.errors import ServiceFailed
from windtunnel.waiting import wait_until


@pytest.fixture
def engine_name(pytestconfig: pytest.Config) -> str:
    return choose.choose(pytestconfig.getoption("windtunnel_engine"), project="windtunnel-start").stack.engine


@pytest.fixture
def other(tmp_path: Path, engine_name: str) -> Stack:
    """A stack that is not started yet."""
    return new_project("start", tmp_path, engine=engine_name)


UNREGISTERED = """
from airflow.sdk import DAG
from airflow.timetables.simple import NullTimetable

class Mine(NullTimetable):
    pass

with DAG(dag_id="test-unregistered", schedule=Mine()):
    pass
"""


def test_a_wrong_function_and_a_dag_that_cannot_be_saved_are_named_and_everything_else_runs(
    other: Stack, tmp_path: Path
) -> None:
    (tmp_path / "lambdas" / "empty_function").mkdir()
    (tmp_path / "dags" / "unregistered.py").write_text(UNREGISTERED)
    (tmp_path / "plugins" / "broken.py").write_text("import no_such_module_of_a_plugin\n")

    with cleaned_up(other) as evidence:
        with pytest.raises(ServiceFailed) as failed:
            other.up()

        assert failed.value.service in ("localstack", "dag-processor")
        stack = StackUnderTest(other, evidence)
        for service in ("webserver", "scheduler", "triggerer"):
            stack.wait_for_health(service)
        for service, reason in (
            ("localstack", "lambdas/empty_function has no handler"),
            ("dag-processor", "unregistered.py: airflow"),
        ):
            wait_until(f"{service} to say why", lambda: reason in stack.health(service), timeout=30)  # noqa: B023
        ((file, error),) = Report.of(other).plugin_errors
        assert (Path(file).name, "no_such_module_of_a_plugin" in error) == ("broken.py", True)
        run = stack.airflow.trigger("test-once", {"function_name": "test-plain", "payloads": [{}]})
        assert stack.airflow.wait(run, timeout=60).state == "success"


def test_a_stack_whose_tests_run_is_not_removed_as_abandoned(stack: StackUnderTest) -> None:
    before = {service.name: service.id for service in stack.stack.services()}

    remove_abandoned(stack.stack.engine)

    assert {service.name: service.id for service in stack.stack.services()} == before
