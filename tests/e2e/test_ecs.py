"""The amazon provider's operators and sensors of ECS, against containers that really run."""

import pytest

from tests.run_logs import all_events, numbered, raised
from tests.support import StackUnderTest
from windtunnel.airflow_api.client import AirflowClient

pytestmark = pytest.mark.overlay("ecs")

FAILING = {"red", "missing", "deferrable_red"}


def test_the_providers_operators_and_sensors_of_ecs(
    airflow: AirflowClient, airflow_stack: StackUnderTest
) -> None:
    parameters = airflow_stack.aws("ssm")
    parameters.put_parameter(Name="/test/ecs/secret", Value="hunter", Type="SecureString", Overwrite=True)
    run = airflow.wait(airflow.trigger("test-ecs"), timeout=120)

    states = {task.task_id: str(task.state.value) for task in airflow.task_instances(run) if task.state}
    assert {name for name, state in states.items() if state == "failed"} == FAILING
    assert {state for name, state in states.items() if name not in FAILING} == {"success"}

    def messages(task_id: str) -> list[str]:
        return [record.message for record in airflow.task_log(run, task_id).records]

    # The operator puts the time before each line of the container.
    lines = [message.rpartition("] ")[2] for message in messages("green")]
    begin = lines.index("1")
    assert lines[begin : begin + 21] == [*map(str, range(1, 21)), "the secret is hunter"]

    red = raised(airflow.task_log(run, "red"))
    assert "last 10 logs from Cloudwatch" in red
    assert red.split()[-10:] == [str(number) for number in range(11, 21)]
    assert "executable file not found" in raised(airflow.task_log(run, "missing"))
    assert "'exitCode': 4" in raised(airflow.task_log(run, "deferrable_red"))
    assert any(message.endswith("] deferred") for message in messages("deferrable"))


def test_a_task_on_an_instance_and_what_its_operators_leave(
    airflow: AirflowClient, airflow_stack: StackUnderTest
) -> None:
    run = airflow.wait(airflow.trigger("test-ecs-instances"), timeout=120)
    assert run.state == "success", "\n".join(airflow.failures(run))

    # The operator returns the container's last line.
    assert airflow.xcom(run, "on_an_instance") == "in /usr/bin"
    ecs = airflow_stack.aws("ecs")
    arn = airflow.xcom(run, "on_an_instance", "ecs_task_arn")
    (task,) = ecs.describe_tasks(cluster="default", tasks=[arn])["tasks"]
    assert (task["launchType"], ":container-instance/default/" in task["containerInstanceArn"]) == (
        "EC2",
        True,
    )
    assert ecs.list_task_definitions(familyPrefix="test-ecs-instances")["taskDefinitionArns"] == []


def test_a_remote_operator_runs_its_container_and_registers_it_once(
    airflow: AirflowClient, airflow_stack: StackUnderTest
) -> None:
    for _ in range(2):
        run = airflow.wait(airflow.trigger("example-remote"), timeout=90)
        assert run.state == "success", "\n".join(airflow.failures(run))

    revisions = airflow_stack.aws("ecs").list_task_definitions(familyPrefix="example-remote-report")
    assert len(revisions["taskDefinitionArns"]) == 1


def test_ten_thousand_lines_of_a_container_are_in_cloudwatch_and_in_the_task_log_in_order_and_once(
    airflow: AirflowClient, airflow_stack: StackUnderTest
) -> None:
    run = airflow.wait(airflow.trigger("test-ecs-lines"), timeout=300)
    assert run.state == "success", "\n".join(airflow.failures(run))

    every = list(range(1, 10_001))
    for task_id in ("waited", "remote", "remote_deferrable"):
        task = airflow.xcom(run, task_id, "ecs_task_arn").rpartition("/")[2]
        events = all_events(airflow_stack.aws("logs"), "/ecs/airflow", f"airflow/airflow/{task}")
        assert numbered(event["message"] for event in events) == every, task_id
        records = airflow.task_log(run, task_id).records
        assert numbered(record.message for record in records) == every, task_id
