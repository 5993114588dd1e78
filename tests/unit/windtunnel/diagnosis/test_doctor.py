import json
import os
from pathlib import Path
from typing import Any

import pytest

from windtunnel.compose.stack import ComposeStack
from windtunnel.diagnosis import doctor
from windtunnel.local.stack import ProcessStack
from windtunnel.local.venvs import Venvs
from windtunnel.stack.base import Service

from ..conftest import Docker, answer_stack, container

KNOWN = {"core": ["executor", "fernet_key", "fernet_key_cmd"], "common.io": ["xcom_objectstorage_path"]}


@pytest.fixture
def healthy(compose: ComposeStack, docker: Docker) -> ComposeStack:
    docker.answers("info", f"{8 * doctor.GIB} /nowhere\n")
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
    monkeypatch.setattr(Venvs, "missing", lambda _: ["airflow"])
    looked: list[str] = []

    assert doctor.examine(local, looked.append) == []
    assert "memory and disk" in looked
    assert set(docker.calls) == {"version --format {{.Server.Version}}"}


def test_without_an_engine_the_other_findings_are_still_told(healthy: ComposeStack, docker: Docker) -> None:
    docker.answers("version", code=1)
    healthy.environment["WEBSERVER_PORT"] = "abc"

    assert [finding.problem for finding in doctor.examine(healthy, lambda _: None)] == [
        "WEBSERVER_PORT is 'abc'",
        "no Docker engine answers",
    ]


# Access rights


def mounted(path: Path, user: str | None) -> dict[str, Any]:
    service: dict[str, Any] = {"volumes": [{"type": "bind", "source": str(path)}, {"type": "volume"}]}
    return {"services": {"it": service | ({"user": user} if user else {})}}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder as a careless umask leaves it: the owner alone may read one file."""
    tree = tmp_path / "private" / "dags"
    tree.mkdir(parents=True)
    # What lies above a mounted folder is of no account.
    tree.parent.chmod(0o700)
    tree.chmod(0o755)
    (tree / "dag.py").touch()
    (tree / "dag.py").chmod(0o600)
    return tree


@pytest.mark.parametrize("user", ["50000:50000", None])
def test_a_file_that_the_containers_user_cannot_read_is_found(
    tree: Path, monkeypatch: pytest.MonkeyPatch, user: str | None
) -> None:
    # Whoever runs this test may have the number of the real one.
    monkeypatch.setattr(doctor, "LOCALSTACK_USER", (50001, 50001))

    (finding,) = doctor.unreadable(mounted(tree, user))

    assert finding.problem == f"{tree / 'dag.py'} is not readable by the user of it"
    assert finding.remedy == f"chmod -R a+rX {tree / 'dag.py'}"


def test_owner_and_group_are_told_apart(tree: Path) -> None:
    me, my_group = os.getuid(), (tree / "dag.py").stat().st_gid
    assert list(doctor.unreadable(mounted(tree, f"{me}:99"))) == []
    assert len(list(doctor.unreadable(mounted(tree, f"50000:{my_group}")))) == 1

    (tree / "dag.py").chmod(0o640)
    assert list(doctor.unreadable(mounted(tree, f"50000:{my_group}"))) == []


def test_a_closed_folder_is_named_once_for_all_its_services(tree: Path) -> None:
    tree.chmod(0o700)
    configuration = mounted(tree, "50000:99")
    configuration["services"]["other"] = configuration["services"]["it"]

    (finding,) = doctor.unreadable(configuration)

    assert finding.problem == f"{tree} is not readable by the user of it, other"


def test_a_user_known_to_the_image_alone_is_not_judged(tree: Path) -> None:
    assert list(doctor.unreadable(mounted(tree, "postgres"))) == []


# The machine


def test_too_little_memory(healthy: ComposeStack, docker: Docker) -> None:
    docker.answers("info", f"{2 * doctor.GIB} /nowhere\n")

    (finding,) = doctor.docker_resources(healthy)

    assert finding.problem == "the engine has 2.0 GiB of memory; the stack wants 4"


def test_too_little_room(healthy: ComposeStack, docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_DISK", 10**18)

    (finding,) = doctor.docker_resources(healthy)

    assert f"GiB are free at {healthy.root}" in finding.problem


def test_too_little_free_memory_for_processes(local: ProcessStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_FREE_MEMORY", 10**18)

    (finding,) = doctor.machine_resources(local)
    assert "GiB of memory are free; the stack wants" in finding.problem

    # What the running stack holds is not free.
    running = [Service("scheduler", state="running")]
    monkeypatch.setattr(local, "services", lambda: running)
    assert list(doctor.machine_resources(local)) == []


def test_too_little_room_for_the_checkout(local: ProcessStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_ROOM", 10**18)

    (finding,) = doctor.machine_resources(local)

    assert f"GiB are free at {local.root}" in finding.problem


def test_an_image_that_is_neither_here_nor_at_a_registry(healthy: ComposeStack, docker: Docker) -> None:
    docker.answers("image inspect", code=1)
    docker.answers("manifest inspect postgres:17", code=1)
    docker.answers("manifest inspect python", "{}")

    (finding,) = doctor.images(healthy)

    assert finding.problem == "the image postgres:17 is missing, and no registry has it for us"


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
    monkeypatch.setattr(Venvs, "missing", lambda _: missing)
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
