"""The amazon provider's operators and sensors of ECS, against containers that really run."""

import pytest

from tests.run_logs import raised
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


def test_a_remote_operator_runs_its_container_and_registers_it_once(
    airflow: AirflowClient, airflow_stack: StackUnderTest
) -> None:
    for _ in range(2):
        run = airflow.wait(airflow.trigger("example-remote"), timeout=90)
        assert run.state == "success", "\n".join(airflow.failures(run))

    revisions = airflow_stack.aws("ecs").list_task_definitions(familyPrefix="example-remote-report")
    assert len(revisions["taskDefinitionArns"]) == 1
