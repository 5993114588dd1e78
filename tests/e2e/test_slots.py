"""Tasks that hold every slot, and the logs of many tasks at once."""

from typing import Any

from tests.run_logs import Try, in_cloudwatch, in_s3, s3_object
from tests.support import SLOTS
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.diagnosis.status import Report
from windtunnel.testing.stack import RunningStack
from windtunnel.waiting import wait_until

FUNCTION = "airflow-test"


def test_status_names_the_tasks_that_hold_all_slots(airflow: AirflowClient, windtunnel: RunningStack) -> None:
    run = airflow.trigger("test-slots")
    beginning = f"for a slot: all {SLOTS} are taken by test-slots.hold since "
    try:
        wait_until(
            f"status to say {beginning!r}",
            lambda: any(beginning in one.problem for one in Report.of(windtunnel.stack).warnings),
            timeout=60,
        )
    finally:
        with windtunnel.variable("test_slots_open", "yes"):
            ended = airflow.wait(run, timeout=120)
    assert ended.state == "success"


def test_the_logs_of_many_tasks_are_complete(
    airflow: AirflowClient, s3_client: Any, logs_client: Any
) -> None:
    run = airflow.wait(airflow.trigger("test-many"), timeout=120)
    assert run.state == "success", "\n".join(airflow.failures(run))

    for index in range(20):
        this = Try("test-many", run.dag_run_id, "invoke", map_index=index)
        lines = in_cloudwatch(logs_client, this, FUNCTION)
        assert lines
        assert in_s3(s3_object(s3_client, this)["Body"], FUNCTION) == lines
