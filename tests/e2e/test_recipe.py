"""The published recipe's function and operator beside ours, and both decorators on one function."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from airflow_client.client.models.dag_run_response import DAGRunResponse

from tests import recipe
from tests.run_logs import UPLOAD_TIMEOUT, Try, events, raised, streams
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.testing.stack import RunningStack
from windtunnel.waiting import wait_until

# The functions of this file, by their decorators from the outside to the inside.
HANDLERS = {
    "recipe": "Recipe(work)",
    "relay-recipe": "relay(Recipe(work))",
    "recipe-relay": "Recipe(relay(work))",
    "relay-relay": "relay(relay(work))",
}
SOURCE = "from airflow_relay import relay\n\nfrom recipe import Recipe, work\n\nlambda_handler = {}\n"

GREEN: dict[str, Any] = {"lines": 3, "seconds": 0.3}
RED: dict[str, Any] = {"lines": 3, "fails_at": 1}
# Each run: the DAG, the function, the event.
RUNS = {
    **{f"{function} green": ("test-once", function, GREEN) for function in HANDLERS},
    **{f"{function} red": ("test-once", function, RED) for function in HANDLERS},
    **{f"{function} deferred": ("test-deferred", function, GREEN) for function in HANDLERS},
    **{f"{function} theirs green": ("test-recipe-operator", function, GREEN) for function in HANDLERS},
    **{f"{function} theirs red": ("test-recipe-operator", function, RED) for function in HANDLERS},
    "theirs silent": ("test-recipe-operator", "relay-relay", {"lines": 0}),
}


@pytest.fixture(scope="module")
def _functions(
    windtunnel: RunningStack, logs_client: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    with ExitStack() as deployed:
        for name, handler in HANDLERS.items():
            folder = tmp_path_factory.mktemp("functions") / name
            folder.mkdir()
            shutil.copy(Path(recipe.__file__), folder)
            (folder / "lambda_function.py").write_text(SOURCE.format(handler))
            deployed.enter_context(windtunnel.deploy_function(folder))
            # The recipe wants it to be there.
            with suppress(logs_client.exceptions.ResourceAlreadyExistsException):
                logs_client.create_log_group(logGroupName=f"/airflow/lambda/{name}")
        yield


class Ended:
    """A finished run, and the log of its one task."""

    def __init__(self, airflow: AirflowClient, run: DAGRunResponse) -> None:
        self.state = run.state
        (self.task,) = airflow.task_instances(run)
        if run.state == "failed":
            # Airflow uploads the end of a deferred task's log after the task has its state.
            exception = lambda: raised(airflow.task_log(run, "invoke"))  # noqa: E731
            wait_until("the exception in the log", exception, timeout=UPLOAD_TIMEOUT, retry_on=(ValueError,))
        self.log = airflow.task_log(run, "invoke")

    def counts(self, *texts: str) -> list[int]:
        """How many records hold each text."""
        return [sum(text in record.message for record in self.log.records) for text in texts]

    def warnings(self) -> str:
        return "\n".join(record.message for record in self.log.records if record.level == "warning")


@pytest.fixture(scope="module")
def started(airflow: AirflowClient, _functions: None) -> dict[str, DAGRunResponse]:
    return {
        name: airflow.trigger(dag_id, {"function_name": function, "payloads": [payload]})
        for name, (dag_id, function, payload) in RUNS.items()
    }


@pytest.fixture(scope="module")
def ended(airflow: AirflowClient, started: dict[str, DAGRunResponse]) -> Callable[[str], Ended]:
    return lambda name: Ended(airflow, airflow.wait(started[name], timeout=180))


EACH_LINE = ("current run 0", "current run 1", "current run 2")


@pytest.mark.parametrize("function", HANDLERS)
def test_each_line_is_shown_once(ended: Callable[[str], Ended], function: str) -> None:
    run = ended(f"{function} green")

    assert run.state == "success", run.log
    assert run.counts(*EACH_LINE) == [1, 1, 1], run.log
    mixed = function in ("relay-recipe", "recipe-relay")
    assert ("another decorator writes to it as well" in run.warnings()) is mixed, run.warnings()


def test_a_task_does_not_wait_for_an_end_marker_that_the_recipe_has_not(
    ended: Callable[[str], Ended], logs_client: Any
) -> None:
    task = ended("recipe green").task
    assert task.end_date is not None

    (stream,) = streams(logs_client, Try(task.dag_id, task.dag_run_id, "invoke"), "recipe")
    # The recipe cuts its times to whole seconds, so this may be a second too much.
    last = events(logs_client, stream, "recipe")[-1]["timestamp"] / 1000
    assert task.end_date.timestamp() - last < 4


def test_a_swallowed_exception_is_green_with_a_warning(ended: Callable[[str], Ended]) -> None:
    run = ended("recipe red")

    assert run.state == "success", run.log
    assert "last lines of its other decorator are those of an error: ERROR" in run.warnings(), run.log
    assert "fails at 1" in run.warnings()
    assert "are those of an error" not in ended("recipe green").warnings()


def test_of_both_decorators_the_outer_one_decides_what_lambda_answers(ended: Callable[[str], Ended]) -> None:
    assert ended("relay-recipe red").state == "success"
    assert "are those of an error" in ended("relay-recipe red").warnings()
    for function in ("recipe-relay", "relay-relay"):
        run = ended(f"{function} red")
        assert run.state == "failed"
        assert "LookupError: fails at 1" in raised(run.log)


def test_a_deferred_task_cannot_know_how_the_recipes_function_has_ended(
    ended: Callable[[str], Ended],
) -> None:
    run = ended("recipe deferred")

    assert run.state == "failed"
    assert raised(run.log).startswith("LambdaOutcomeUnknown: recipe wrote its log stream, but without")
    assert run.counts(*EACH_LINE) == [1, 1, 1]


@pytest.mark.parametrize("function", ["relay-recipe", "recipe-relay", "relay-relay"])
def test_a_deferred_task_runs_the_handler_under_both_decorators(
    ended: Callable[[str], Ended], function: str
) -> None:
    run = ended(f"{function} deferred")

    assert run.state == "success", run.log
    assert run.counts(*EACH_LINE) == [1, 1, 1], run.log
    assert ("not the outermost decorator" in run.warnings()) is (function == "recipe-relay")


@pytest.mark.parametrize("function", HANDLERS)
def test_the_recipes_operator_shows_each_line_once(ended: Callable[[str], Ended], function: str) -> None:
    run = ended(f"{function} theirs green")

    assert run.state == "success", run.log
    assert run.counts(*EACH_LINE) == [1, 1, 1], run.log
    assert run.counts("[END #") == [0]


@pytest.mark.parametrize("function", ["recipe-relay", "relay-relay"])
def test_the_recipes_operator_fails_with_our_function(ended: Callable[[str], Ended], function: str) -> None:
    run = ended(f"{function} theirs red")

    assert "fails at 1" in str(run.log)
    assert run.state == "failed" if function == "relay-relay" else "success"


def test_a_silent_function_is_green_for_the_recipes_operator(ended: Callable[[str], Ended]) -> None:
    run = ended("theirs silent")

    assert run.state == "success", run.log
    assert run.counts("The handler has returned") == [1]
