import json
from pathlib import Path

import pytest

from windtunnel.compose.stack import ComposeStack
from windtunnel.diagnosis import doctor, held_up, unstarted
from windtunnel.local.stack import ProcessStack
from windtunnel.local.venvs import Venvs
from windtunnel.stack.errors import Finding

from ..conftest import change
from ..stand_ins.docker import Docker, answer_stack, container

KNOWN = {"core": ["executor", "fernet_key", "fernet_key_cmd"], "common.io": ["xcom_objectstorage_path"]}


@pytest.fixture
def healthy(compose: ComposeStack, docker: Docker) -> ComposeStack:
    docker.answers("info", f"{8 * 1024**3} /nowhere\n")
    docker.answers("image inspect", "sha256:1")
    docker.answers("run --rm --network none", f"a line of noise\n{json.dumps(KNOWN)}\n")
    return compose


def test_nothing_is_found_where_all_is_in_order(healthy: ComposeStack) -> None:
    looked: list[str] = []

    assert doctor.examine(healthy, looked.append) == []
    assert looked


def test_the_local_engine_is_examined_without_docker(
    local: ProcessStack, docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.answers("version", code=1)
    monkeypatch.setattr(Venvs, "missing", lambda *_: ["airflow"])
    looked: list[str] = []

    assert doctor.examine(local, looked.append) == []
    assert "files, memory and disk" in looked
    assert set(docker.calls) == {"version --format {{.Server.Version}}"}


def test_without_an_engine_the_other_findings_are_still_told(healthy: ComposeStack, docker: Docker) -> None:
    docker.answers("version", code=1)
    change(healthy, WEBSERVER_PORT="abc")

    assert [finding.problem for finding in doctor.examine(healthy, lambda _: None)] == [
        "WEBSERVER_PORT is 'abc'",
        "no Docker Engine answers",
    ]


def test_what_makes_starts_slower_is_found(healthy: ComposeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Finding("the fork server does not work", "Its log: ./windtunnel logs fork-server")
    monkeypatch.setattr(healthy, "warnings", lambda: [slow])

    assert doctor.examine(healthy, lambda _: None) == [slow]


# Airflow's settings


def test_a_misspelt_variable_is_named_with_what_was_meant() -> None:
    given = {
        "AIRFLOW__CORE__EXECUTOR": "a",
        "AIRFLOW__CORE__FERNET_KEY_CMD": "a",
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": "a",
        "AIRFLOW__CORE__EXECUTER": "the service scheduler",
    }

    (finding,) = doctor.unknown_variables(given, KNOWN)

    assert finding.problem == "Airflow has no setting AIRFLOW__CORE__EXECUTER (in the service scheduler)"
    assert finding.remedy == "Did you mean AIRFLOW__CORE__EXECUTOR?"


def test_misspelt_options_and_sections_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "airflow.cfg"
    file.write_text("[core]\nexecutor = a\nexecuter = %x\n[cor]\nexecutor = a\n")

    findings = list(doctor.unknown_options(file, KNOWN))

    assert [finding.problem for finding in findings] == [
        "airflow.cfg: Airflow has no option executer in [core]",
        "airflow.cfg: Airflow has no section [cor]",
    ]
    assert [finding.remedy for finding in findings] == ["Did you mean executor?", "Did you mean core?"]


def test_settings_come_from_containers_environment_and_file(
    healthy: ComposeStack, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__NOPE", "1")
    healthy.configuration["services"]["webserver"]["environment"] = {"AIRFLOW__API__NOPE": "1"}
    (checkout / "config/airflow.cfg").write_text("[core]\nnope = 1\n")

    found = " ".join(finding.problem for finding in doctor.airflow_settings(healthy))

    assert "AIRFLOW__CORE__NOPE (in your environment)" in found
    assert "AIRFLOW__API__NOPE (in the service webserver)" in found
    assert "no option nope in [core]" in found


def test_settings_are_not_judged_before_the_image_is_built(healthy: ComposeStack, docker: Docker) -> None:
    docker.answers("image inspect", code=1)

    assert list(doctor.airflow_settings(healthy)) == []


def test_the_local_engines_airflow_is_asked_where_it_is_installed(
    local: ProcessStack, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "config/airflow.cfg").write_text("[core]\nnope = 1\n")
    missing = ["airflow"]
    monkeypatch.setattr(Venvs, "missing", lambda *_: missing)
    assert list(doctor.airflow_settings(local)) == []

    missing.clear()
    python = Venvs(local).python("airflow")
    python.parent.mkdir(parents=True)
    # It is asked of an Airflow that nobody uses.
    python.write_text(f"#!/bin/sh\n[ -d \"$AIRFLOW_HOME\" ] && echo '{json.dumps(KNOWN)}'\n")
    python.chmod(0o755)
    (finding,) = doctor.airflow_settings(local)
    assert "no option nope in [core]" in finding.problem


# The running stack


def test_what_a_task_cannot_reach_is_named(healthy: ComposeStack, docker: Docker) -> None:
    answer_stack(docker, [container("scheduler")])
    docker.answers(
        "compose exec --no-TTY scheduler python -m windtunnel.services.answers aws good",
        'noise\n{"the function good": "not found"}\n',
    )

    (finding,) = doctor.reachability(healthy)

    assert finding.problem == "a task cannot reach the function good: not found"
    assert finding.remedy == "./windtunnel deploy good"


def test_nothing_is_asked_while_the_stack_does_not_run(healthy: ComposeStack, docker: Docker) -> None:
    assert list(doctor.reachability(healthy)) == []
    assert not any(call.startswith("compose exec") for call in docker.calls)


def test_a_function_that_is_not_deployed_is_found_once_with_the_reason(
    healthy: ComposeStack, docker: Docker
) -> None:
    answer_stack(docker, [container("scheduler"), container("localstack")])
    docker.answers(
        "compose exec --no-TTY localstack python -m windtunnel.services.answers not_deployed",
        '{"good": "lambdas/good/requirements.txt, line 1: frist was not found"}\n',
    )
    docker.answers("compose exec --no-TTY scheduler python -m windtunnel.services.answers aws", "{}\n")

    (finding,) = doctor.not_deployed(healthy)

    assert finding.problem.startswith("good is not deployed: lambdas/good/requirements.txt, line 1: ")
    assert list(doctor.reachability(healthy)) == []
    assert docker.calls[-1].endswith("answers aws"), "a task is asked for it, too"


def test_tasks_that_wait_for_a_slot_are_found(healthy: ComposeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Finding("2 tasks wait for a slot", "Set PARALLELISM to more slots")
    monkeypatch.setattr(held_up, "findings", lambda _: [waiting])

    assert doctor.examine(healthy, lambda _: None) == [waiting]


def test_tasks_that_no_agent_starts_are_found(healthy: ComposeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Finding("no agent asks for work", "./windtunnel up --with ecs-agent")
    monkeypatch.setattr(unstarted, "findings", lambda _: [waiting])

    assert doctor.examine(healthy, lambda _: None) == [waiting]
