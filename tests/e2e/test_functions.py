"""How a task ends when its function does not end well, or does not know of the relay."""

import re
from typing import Any

import pytest
from airflow_client.client.models.dag_run_response import DAGRunResponse

from tests.run_logs import Try, events, raised, streams
from windtunnel.airflow_api.client import AirflowClient


class Outcome:
    """A finished run of `test-once`, and the log of its one task."""

    def __init__(self, airflow: AirflowClient, started: DAGRunResponse) -> None:
        run = airflow.wait(started, timeout=60)
        self.state = run.state
        self.of = Try(run.dag_id, run.dag_run_id, "invoke")
        self.log = airflow.task_log(run, "invoke")

    def texts(self, logger: str) -> list[str]:
        return [record.message for record in self.log.records if record.logger == logger]


@pytest.mark.parametrize(
    ("name", "exception"),
    [
        (
            "timeout",
            r"LambdaTimedOut: test-relayed failed: .*Task timed out after 4\.00 seconds",
        ),
        ("exit", r"LambdaFunctionFailed: test-relayed failed: .*exit status 7"),
    ],
)
def test_a_function_that_is_ended_fails_the_task_with_lambdas_reason(
    airflow: AirflowClient,
    logs_client: Any,
    function_runs: dict[str, DAGRunResponse],
    name: str,
    exception: str,
) -> None:
    outcome = Outcome(airflow, function_runs[name])

    assert outcome.state == "failed"
    assert re.match(exception, raised(outcome.log)), raised(outcome.log)
    # What it had logged by then is there once, in CloudWatch and in the task log.
    (stream,) = streams(logs_client, outcome.of, "test-relayed")
    messages = [event["message"] for event in events(logs_client, stream, "test-relayed")]
    assert [message for message in messages if "before" in message] == ["[INFO #1] before"]
    assert outcome.texts("lambda.test-relayed").count("before") == 1


def test_a_function_without_the_relay_has_its_own_log_shown(
    airflow: AirflowClient, function_runs: dict[str, DAGRunResponse]
) -> None:
    outcome = Outcome(airflow, function_runs["plain"])

    assert outcome.state == "success"
    texts = outcome.texts("lambda.test-plain")
    assert texts.count("a plain function says hello") == 1
    assert [text.split()[0] for text in texts if text.startswith(("START", "END", "REPORT"))] == [
        "START",
        "END",
        "REPORT",
    ]


def test_an_unknown_function_is_named(
    airflow: AirflowClient, function_runs: dict[str, DAGRunResponse]
) -> None:
    outcome = Outcome(airflow, function_runs["unknown"])

    assert outcome.state == "failed"
    assert raised(outcome.log).startswith("LambdaNotFound: ")
    assert "no-such-function" in raised(outcome.log)


def test_the_result_becomes_the_xcom(
    airflow: AirflowClient, metadata_db: Any, function_runs: dict[str, DAGRunResponse]
) -> None:
    outcome = Outcome(airflow, function_runs["nothing"])

    with metadata_db.cursor() as cursor:
        cursor.execute(
            "SELECT value FROM xcom WHERE run_id = %s AND key = 'return_value'", (outcome.of.run_id,)
        )
        assert cursor.fetchall() == [("done",)]
