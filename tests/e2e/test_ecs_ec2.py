"""Tasks on an instance: they wait for room there, which a capacity provider does not make at once."""

from collections import Counter
from typing import Any

import pytest

from tests.executor_runs import release, starts
from tests.support import StackUnderTest
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.testing.stack import RunningStack
from windtunnel.waiting import wait_until

pytestmark = pytest.mark.overlay("ecs-ec2")


def test_more_tasks_than_the_instance_has_room_for_wait_and_run_once(
    airflow: AirflowClient, airflow_stack: StackUnderTest, windtunnel: RunningStack, s3_client: Any
) -> None:
    ecs = airflow_stack.aws("ecs")
    (instance,) = ecs.list_container_instances(cluster="airflow")["containerInstanceArns"]

    def remaining() -> int:
        described = ecs.describe_container_instances(cluster="airflow", containerInstances=[instance])
        resources = described["containerInstances"][0]["remainingResources"]
        return int(next(one["integerValue"] for one in resources if one["name"] == "CPU"))

    room = remaining() // 256
    runs = [airflow.trigger("test-executor-waits") for _ in range(room // 10 + 1)]
    asked = 10 * len(runs)

    def where() -> Counter[tuple[str, bool]]:
        arns = ecs.list_tasks(cluster="airflow")["taskArns"]
        tasks = ecs.describe_tasks(cluster="airflow", tasks=arns)["tasks"] if arns else []
        assert {(one["launchType"], one["capacityProviderName"]) for one in tasks} <= {("EC2", "agent")}
        return Counter((one["lastStatus"], one.get("containerInstanceArn") == instance) for one in tasks)

    wanted = {("RUNNING", True): room, ("PROVISIONING", False): asked - room}
    wait_until(f"{room} of {asked} tasks to run, the rest to wait", lambda: where() == wanted, timeout=60)
    assert remaining() == 0

    for run in runs:
        release(s3_client, run.dag_run_id)
    for run in runs:
        ended = airflow.wait(run, timeout=120)
        assert ended.state == "success", "\n".join(airflow.failures(ended))
        assert len(starts(s3_client, run.dag_run_id)) == 10
