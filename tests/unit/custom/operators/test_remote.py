"""The operator: what it has registered, and what goes along with a run."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.amazon.aws.operators.ecs import EcsRunTaskOperator
from airflow.providers.amazon.aws.triggers.ecs import TaskDoneTrigger
from airflow.sdk import DAG, XComArg
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import TaskDeferred

from custom.operators import remote
from custom.operators.remote import RemoteOperator
from custom.triggers.remote import ContainerTrigger
from tests.unit.custom.remote.ecs_stand_in import ARN, EcsStandIn

FAMILY = "d-group_t"
SERVICE = {
    "image": "report:1",
    "command": "python -m report",
    "environment": {"ROWS": 1000, "DB": "mine"},
}


@pytest.fixture(autouse=True)
def _outside_of_the_task_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)
    # The provider runs and waits; what it is told is on the operator.
    monkeypatch.setattr(EcsRunTaskOperator, "execute", lambda self, context: "the last line")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def ecs() -> EcsStandIn:
    return EcsStandIn()


def make(**arguments: Any) -> RemoteOperator:
    return RemoteOperator(**{"task_id": "group.t", "service": SERVICE, **arguments})


def run(ecs: EcsStandIn, operator: Any, day: str = "monday", map_index: int = -1) -> Any:
    """Run as the task runner does: rendered, then executed."""
    operator.__dict__["client"] = ecs.client
    ti = SimpleNamespace(dag_id="d", task_id="group.t", map_index=map_index)
    context: Any = {"ti": ti, "day": day}
    operator.render_template_fields(context)
    assert operator.execute(context) == "the last line"
    return operator


def registered(ecs: EcsStandIn) -> dict[str, Any]:
    """The container of the only revision."""
    (one,) = ecs.registered(FAMILY)
    (container,) = one["containerDefinitions"]
    return dict(container)


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container["environment"]}


def sent(operator: RemoteOperator) -> dict[str, Any]:
    """The override of the only container."""
    (override,) = operator.overrides["containerOverrides"]
    return dict(override)


def test_what_is_the_same_in_every_run_is_in_the_definition(ecs: EcsStandIn) -> None:
    operator = run(
        ecs, make(environment=["MODE=fast"], execution_role_arn="own", task_role_arn="mine", size="medium")
    )

    (definition,) = ecs.registered(FAMILY)
    container = registered(ecs)
    assert container["command"] == ["python", "-m", "report"]
    assert environment(container) == {"ROWS": "1000", "DB": "mine", "MODE": "fast"}
    assert {
        name: definition[name] for name in ("cpu", "memory", "networkMode", "requiresCompatibilities")
    } == {
        "cpu": "512",
        "memory": "1024",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
    }
    assert (definition["executionRoleArn"], definition["taskRoleArn"]) == ("own", "mine")
    assert operator.task_definition == f"{ARN}{FAMILY}:1"
    assert operator.overrides == {"containerOverrides": []}


def test_a_hundred_runs_are_one_revision_and_a_changed_variable_makes_two(ecs: EcsStandIn) -> None:
    for number in range(100):
        run(ecs, make(environment={"DAY": "{{ day }}"}), day=str(number))
    assert len(ecs.registered(FAMILY)) == 1

    run(ecs, make(environment={"DAY": "{{ day }}", "ROWS": 1001}))
    run(ecs, make(environment={"DAY": "{{ day }}", "ROWS": 1001}), day="tuesday")
    assert len(ecs.registered(FAMILY)) == 2


def test_what_a_template_makes_goes_along_with_the_run(ecs: EcsStandIn) -> None:
    service = {**SERVICE, "environment": {"ROWS": "{{ day }}", "ELSE": "{{ day }}"}}
    operator = run(ecs, make(service=service, environment={"DAY": "{{ day }}"}, command="report {{ day }}"))

    assert environment(registered(ecs)) == {}
    assert registered(ecs)["command"] == ["python", "-m", "report"]
    assert environment(sent(operator)) == {"DAY": "monday", "ROWS": "monday", "ELSE": "monday"}
    assert sent(operator)["command"] == ["report", "monday"]


def test_a_command_of_the_service_may_be_made_by_a_template(ecs: EcsStandIn) -> None:
    service = {**SERVICE, "command": ["report", "{{ day }}"]}
    operator = run(ecs, make(service=service))

    assert "command" not in registered(ecs)
    assert sent(operator)["command"] == ["report", "monday"]
    run(ecs, make(service=service), day="tuesday")
    run(ecs, make(service=service, command="report {{ day }} again"), day="wednesday")
    assert len(ecs.registered(FAMILY)) == 1


def test_an_environment_that_another_task_returns_goes_along(ecs: EcsStandIn) -> None:
    with DAG(dag_id="d"):
        first = make(task_id="first")
        operator = make(environment=XComArg(first))
    operator.environment = {"SHARD": "3"}
    run(ecs, operator)

    assert environment(sent(operator)) == {"SHARD": "3"}
    assert "SHARD" not in environment(registered(ecs))


def test_arguments_of_mapped_tasks_make_no_revisions(ecs: EcsStandIn) -> None:
    with DAG(dag_id="d"):
        mapped: Any = RemoteOperator.partial(task_id="group.t", service=SERVICE).expand(
            environment=[{"SHARD": "0"}, {"SHARD": "1"}], command=["a", "b"]
        )
    assert isinstance(mapped, MappedOperator)
    operators = [
        run(
            ecs,
            mapped.unmap({"environment": {"SHARD": str(index)}, "command": f"count {index}"}),
            map_index=index,
        )
        for index in range(3)
    ]

    assert [environment(sent(one)) for one in operators] == [{"SHARD": "0"}, {"SHARD": "1"}, {"SHARD": "2"}]
    assert [sent(one)["command"] for one in operators] == [["count", str(index)] for index in range(3)]
    assert environment(registered(ecs)) == {"ROWS": "1000", "DB": "mine"}


def test_a_secret_takes_the_place_of_a_variable(ecs: EcsStandIn) -> None:
    run(ecs, make(secrets={"DB": "/{{ day }}/db"}, environment={"DB": "{{ day }}"}))

    assert registered(ecs)["secrets"] == [{"name": "DB", "valueFrom": "/monday/db"}]
    assert environment(registered(ecs)) == {"ROWS": "1000"}


def test_the_image_may_be_made_by_a_template(ecs: EcsStandIn) -> None:
    run(ecs, make(image="report:{{ day }}"))
    assert registered(ecs)["image"] == "report:monday"


def test_its_lines_are_found_where_the_definition_puts_them(ecs: EcsStandIn) -> None:
    operator = run(ecs, make())

    assert registered(ecs)["logConfiguration"] == {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": operator.awslogs_group,
            "awslogs-region": operator.awslogs_region,
            "awslogs-stream-prefix": operator.awslogs_stream_prefix,
            "awslogs-create-group": "true",
        },
        "secretOptions": [],
    }
    assert (operator.awslogs_group, operator.awslogs_region) == (f"/ecs/{FAMILY}", "ap-southeast-2")
    assert operator.container_name == registered(ecs)["name"]


def test_a_task_that_was_deferred_finds_them_too(ecs: EcsStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        EcsRunTaskOperator, "execute_complete", lambda self, context, event: self.awslogs_group
    )
    operator = make()
    operator.__dict__["client"] = ecs.client
    context: Any = {"ti": SimpleNamespace(dag_id="d", task_id="group.t", map_index=-1)}

    assert operator.execute_complete(context, {}) == f"/ecs/{FAMILY}"


def test_a_deferred_task_waits_by_a_trigger_that_loses_no_line() -> None:
    theirs = TaskDoneTrigger("airflow", "arn", 1, 2, "connection", "region", "/group", "stream")

    with pytest.raises(TaskDeferred) as deferred:
        make().defer(trigger=theirs, method_name="execute_complete")

    assert isinstance(deferred.value.trigger, ContainerTrigger)
    assert deferred.value.trigger.serialize()[1] == theirs.serialize()[1]


def test_further_overrides_are_laid_over_ours(ecs: EcsStandIn) -> None:
    further = {
        "cpu": "512",
        "containerOverrides": [
            {"name": "main", "environment": [{"name": "DAY", "value": "mine"}], "memory": 300},
            {"name": "beside", "command": ["x"]},
        ],
    }
    operator = run(ecs, make(environment={"DAY": "{{ day }}", "HOUR": "{{ day }}"}, overrides=further))

    assert operator.overrides["cpu"] == "512"
    beside, own = operator.overrides["containerOverrides"]
    assert beside == {"name": "beside", "command": ["x"]}
    assert own["memory"] == 300
    assert own["environment"] == [{"name": "HOUR", "value": "monday"}, {"name": "DAY", "value": "mine"}]


def test_ec2_has_no_network_of_its_own_unless_one_is_named(ecs: EcsStandIn) -> None:
    run(ecs, make(launch_type="EC2", task_definition_kwargs={"ephemeralStorage": {"sizeInGiB": 30}}))

    (definition,) = ecs.registered(FAMILY)
    assert "networkMode" not in definition
    assert definition["requiresCompatibilities"] == ["EC2"]
    assert definition["ephemeralStorage"] == {"sizeInGiB": 30}


def test_a_service_is_read_from_the_file_beside_the_dag(tmp_path: Path, ecs: EcsStandIn) -> None:
    (tmp_path / "compose.yml").write_text("services: {my.report: {image: i, cpus: 1, volumes: ['.:/x']}}")
    dag = tmp_path / "dag.py"
    dag.write_text("operator = make('my.report', size=None, pool='one at a time')")
    found: dict[str, Any] = {"make": RemoteOperator.from_compose_service}
    exec(compile(dag.read_text(), dag, "exec"), found)  # noqa: S102 - a file of that name calls

    operator = found["operator"]
    assert (operator.task_id, operator.container_name) == ("my.report", "my-report")
    assert operator.pool == "one at a time"
    run(ecs, operator)
    assert ecs.registered(FAMILY)[0]["cpu"] == "1024"


def test_what_it_passes_over_is_in_the_log(ecs: EcsStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    operator = make(service={**SERVICE, "volumes": ["a:b"], "ports": [80]})
    monkeypatch.setattr(operator.log, "warning", lambda text, *values: said.append(text % values))
    run(ecs, operator)

    assert said == ["Nothing comes of these keys of the service: ports, volumes"]


def test_names_fit_into_what_ecs_takes(ecs: EcsStandIn) -> None:
    operator = make()
    operator.__dict__["client"] = ecs.client
    context: Any = {"ti": SimpleNamespace(dag_id="d" * 250, task_id="t" * 250, map_index=-1)}
    operator.execute(context)

    assert len(operator.family or "") == remote.LONGEST_NAME
