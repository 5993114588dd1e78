"""entrypoint.sh run on this machine, with stand-ins for the programs that it becomes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real_aws import DANGERS, EXAMPLE_KEY
from windtunnel.stack.settings import ROOT

AIRFLOW_SERVICES = {
    "init": "python -m windtunnel.services.init",
    "webserver": "airflow api-server",
    "scheduler": "airflow scheduler --skip-serve-logs",
    "triggerer": "airflow triggerer --skip-serve-logs",
    "dag-processor": "airflow dag-processor",
}
COMMANDS = AIRFLOW_SERVICES | {
    "postgres": "docker-entrypoint.sh postgres",
    "localstack": "python -m localstack.runtime.main",
}
EMULATED = {
    "AWS_ENDPOINT_URL": "http://localstack:4566",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
}

# The preflight does not miss it: the user's own variables need none.
NO_ENDPOINT: dict[str, tuple[dict[str, str | None], str]] = {
    "no endpoint": ({"AWS_ENDPOINT_URL": None}, "AWS_ENDPOINT_URL"),
    "empty endpoint": ({"AWS_ENDPOINT_URL": ""}, "AWS_ENDPOINT_URL"),
}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    return folder


@pytest.fixture
def entrypoint(tmp_path: Path, secrets: Path) -> Run:
    """Runs entrypoint.sh; every program it may become prints its own command line instead."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in {command.split()[0] for command in COMMANDS.values()}:
        program = programs / name
        # Our own files are run for real, by -IS; but there is no LocalStack to be asked.
        program.write_text(
            '#!/bin/sh\ncase "$2" in */probes.py) exit ${SEEDED:-0} ;; esac\n'
            f'[ "$1" != -IS ] || exec {sys.executable} "$@"\necho "${{0##*/}} $*"\n'
        )
        program.chmod(0o755)

    def run(*arguments: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
        environment = (
            EMULATED
            | {"PATH": f"{programs}:{os.environ['PATH']}", "SECRETS_FOLDER": str(secrets)}
            | {"WINDTUNNEL_HOME": str(ROOT / "src")}
            | changes
        )
        return subprocess.run(
            ["bash", ROOT / "entrypoint.sh", *arguments],
            env={name: value for name, value in environment.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    return run


@pytest.mark.parametrize("service", COMMANDS)
def test_becomes_the_named_service_and_hands_on_arguments(
    entrypoint: Run, secrets: Path, service: str
) -> None:
    (secrets / "complete").touch()

    answer = entrypoint(service, "--one", "two words")

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == f"{COMMANDS[service]} --one two words\n"


def test_becomes_a_command_of_the_users_with_all_that_services_have(entrypoint: Run, secrets: Path) -> None:
    (secrets / "complete").touch()
    os.utime(secrets / "complete", (0, 1700000000))

    answer = entrypoint("exec", "sh", "-c", 'echo "$WINDTUNNEL_STARTED" "$0"', "two words")

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "1700000000 two words\n"


@pytest.mark.parametrize("service", AIRFLOW_SERVICES)
def test_what_is_no_number_of_slots_is_refused(entrypoint: Run, secrets: Path, service: str) -> None:
    (secrets / "complete").touch()

    answer = entrypoint(service, PARALLELISM="many")

    assert answer.returncode == 2
    assert "PARALLELISM is 'many'" in answer.stderr
    assert answer.stdout == ""


def test_airflow_is_given_the_number_of_slots(entrypoint: Run, secrets: Path) -> None:
    (secrets / "complete").touch()

    answer = entrypoint("exec", "sh", "-c", "echo $AIRFLOW__CORE__PARALLELISM", PARALLELISM="3")

    assert answer.stdout == "3\n"


def test_exec_without_a_command_is_refused(entrypoint: Run) -> None:
    answer = entrypoint("exec")

    assert answer.returncode == 2
    assert "exec needs a command" in answer.stderr


def test_localstack_has_no_secrets_and_awaits_none(entrypoint: Run) -> None:
    answer = entrypoint("localstack", SECRETS_FOLDER=None)

    assert answer.returncode == 0, answer.stderr


def test_the_scheduler_does_not_start_before_buckets_and_functions_are_made(
    entrypoint: Run, secrets: Path
) -> None:
    (secrets / "complete").touch()

    answer = entrypoint("scheduler", SEEDED="1")

    assert (answer.returncode, answer.stdout) == (2, "")
    assert "LocalStack does not say that it has made buckets and functions" in answer.stderr


def test_a_dag_processor_with_bundles_of_ones_own_waits_for_buckets(entrypoint: Run, secrets: Path) -> None:
    (secrets / "complete").touch()
    bundles = {"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": "[]"}

    assert entrypoint("dag-processor", SEEDED="1").returncode == 0
    assert entrypoint("dag-processor", **bundles).returncode == 0
    assert entrypoint("dag-processor", SEEDED="1", **bundles).returncode == 2


def test_arguments_of_postgres_come_after_its_name(entrypoint: Run, secrets: Path) -> None:
    (secrets / "complete").touch()

    assert entrypoint("postgres", "-c", "a=b").stdout == "docker-entrypoint.sh postgres -c a=b\n"


@pytest.mark.parametrize("service", [*AIRFLOW_SERVICES, "localstack", "exec"])
@pytest.mark.parametrize("danger", [*DANGERS, *NO_ENDPOINT])
def test_refuses_what_could_reach_real_aws(entrypoint: Run, secrets: Path, service: str, danger: str) -> None:
    changes, named = (DANGERS | NO_ENDPOINT)[danger]
    (secrets / "complete").touch()

    answer = entrypoint(service, "env", **changes)

    assert answer.returncode == 2
    assert answer.stdout == "", "it went on"
    assert answer.stderr.startswith("entrypoint: ")
    assert named in answer.stderr


def test_a_refusal_does_not_show_the_key(entrypoint: Run) -> None:
    answer = entrypoint("scheduler", AWS_ACCESS_KEY_ID=EXAMPLE_KEY)

    assert EXAMPLE_KEY[4:] not in answer.stderr


@pytest.mark.parametrize(
    "address", ["http://localstack:4566", "http://localhost:4566", "http://127.0.0.1:4566/"]
)
def test_accepts_the_emulator(entrypoint: Run, secrets: Path, address: str) -> None:
    (secrets / "complete").touch()

    answer = entrypoint("scheduler", AWS_ENDPOINT_URL=address, AWS_ENDPOINT_URL_ECS="http://ministack:4566")

    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("arguments", [(), ("schedular",), ("bash",)])
def test_an_unknown_service_is_named_with_the_known_ones(entrypoint: Run, arguments: tuple[str, ...]) -> None:
    answer = entrypoint(*arguments)

    assert answer.returncode == 2
    assert f"'{''.join(arguments)}'" in answer.stderr
    assert all(service in answer.stderr for service in COMMANDS)


def test_init_makes_secrets_that_differ_and_keeps_them(entrypoint: Run, secrets: Path) -> None:
    assert entrypoint("init").returncode == 0
    first = {path.name: path.read_text() for path in secrets.iterdir()}
    assert entrypoint("init").returncode == 0

    assert {path.name: path.read_text() for path in secrets.iterdir()} == first
    made = {name: value for name, value in first.items() if name != "complete"}
    assert set(made) == {
        "fernet_key",
        "jwt_secret",
        "api_secret_key",
        "postgres_password",
        "simple_auth_manager_passwords.json",
    }
    assert len(set(made.values())) == len(made)
    # Nothing is shorter than 16 characters of randomness.
    assert all(len(value.strip()) >= 16 for value in made.values())


def test_two_checkouts_have_different_secrets(entrypoint: Run, secrets: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()

    entrypoint("init")
    entrypoint("init", SECRETS_FOLDER=str(other))

    for path in secrets.iterdir():
        assert path.name == "complete" or path.read_text() != (other / path.name).read_text(), path.name


def test_without_a_place_for_secrets_none_are_made(entrypoint: Run) -> None:
    for folder in (None, "/nowhere"):
        answer = entrypoint("init", SECRETS_FOLDER=folder)

        assert answer.returncode == 2
        assert answer.stderr.startswith("entrypoint: cannot write secrets to")


def test_secrets_are_for_their_owner_and_group_alone(entrypoint: Run, secrets: Path) -> None:
    entrypoint("init")

    assert [
        path.name for path in secrets.iterdir() if path.name != "complete" and path.stat().st_mode & 0o002
    ] == []
