"""The amazon provider's operators and sensors of Batch, against jobs that really run."""

import pytest

from tests.run_logs import all_events, numbered, raised
from tests.support import StackUnderTest
from windtunnel.airflow_api.client import AirflowClient

pytestmark = pytest.mark.overlay("batch")


def test_the_providers_operator_runs_jobs_of_each_kind(airflow: AirflowClient) -> None:
    run = airflow.wait(airflow.trigger("test-batch"), timeout=120)

    states = {task.task_id: str(task.state.value) for task in airflow.task_instances(run) if task.state}
    green = dict.fromkeys(("green", "deferrable", "array", "retried"), "success")
    assert states == {**green, "red": "failed"}, "\n".join(airflow.failures(run))
    lines = [record.message for record in airflow.task_log(run, "green").records]
    assert any(line.endswith("from the job") for line in lines)
    assert "4" in raised(airflow.task_log(run, "red"))


def test_all_that_a_job_needs_is_made_used_and_removed(
    airflow: AirflowClient, airflow_stack: StackUnderTest
) -> None:
    run = airflow.wait(airflow.trigger("test-batch-own"), timeout=120)
    assert run.state == "success", "\n".join(airflow.failures(run))

    batch = airflow_stack.aws("batch")
    (job,) = batch.describe_jobs(jobs=[airflow.xcom(run, "job")])["jobs"]
    assert (job["status"], job["platformCapabilities"]) == ("SUCCEEDED", ["FARGATE"])
    assert batch.describe_job_queues(jobQueues=["test-batch-own"])["jobQueues"] == []
    found = batch.describe_compute_environments(computeEnvironments=["test-batch-own"])
    assert found["computeEnvironments"] == []


def test_ten_thousand_lines_of_a_job_are_in_cloudwatch_and_in_the_task_log_in_order_and_once(
    airflow: AirflowClient, airflow_stack: StackUnderTest
) -> None:
    run = airflow.wait(airflow.trigger("test-batch-lines"), timeout=240)
    assert run.state == "success", "\n".join(airflow.failures(run))

    every = list(range(1, 10_001))
    for task_id in ("waited", "deferrable"):
        (job,) = airflow_stack.aws("batch").describe_jobs(jobs=[airflow.xcom(run, task_id)])["jobs"]
        events = all_events(airflow_stack.aws("logs"), "/aws/batch/job", job["container"]["logStreamName"])
        assert numbered(event["message"] for event in events) == every, task_id
        records = airflow.task_log(run, task_id).records
        assert numbered(record.message for record in records) == every, task_id
