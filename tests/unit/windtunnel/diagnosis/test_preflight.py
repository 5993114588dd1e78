import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.real_aws import DANGERS
from windtunnel.compose.stack import ComposeStack
from windtunnel.diagnosis import preflight
from windtunnel.local.stack import ProcessStack
from windtunnel.stack import choose
from windtunnel.stack.base import Stack
from windtunnel.stack.errors import Unmet
from windtunnel.stack.settings import ROOT, Port, Settings

from ..conftest import change, problems
from ..stand_ins.docker import Docker, answer_stack, container


def test_a_checkout_as_it_should_be_has_no_findings(compose: ComposeStack, local: ProcessStack) -> None:
    for stack in (compose, local):
        assert preflight.settings_findings(stack.settings) == []
        assert preflight.engine_findings(stack) == []


@pytest.mark.parametrize("danger", DANGERS)
def test_what_could_reach_real_aws_is_refused(compose: ComposeStack, danger: str) -> None:
    variables, named = DANGERS[danger]
    change(compose, **variables)

    (problem,) = problems(preflight.settings_findings(compose.settings))

    assert named in problem


def test_a_package_that_hides_ours_is_named(compose: ComposeStack, checkout: Path) -> None:
    (checkout / "custom/__init__.py").touch()

    (problem,) = problems(preflight.settings_files(compose.settings))
    assert problem.endswith("custom/__init__.py hides Windtunnel's own package `custom`")


@pytest.mark.parametrize("value", ["abc", "-1", "65536", "80.5", "127.0.0.1:80", "٨٠"])
def test_what_is_no_port_is_named(compose: ComposeStack, value: str) -> None:
    change(compose, WEBSERVER_PORT=value)

    assert problems(preflight.port_values(compose.settings)) == [f"WEBSERVER_PORT is {value!r}"]


@pytest.mark.parametrize("value", ["0", "1", "65535"])
def test_ports(compose: ComposeStack, value: str) -> None:
    change(compose, POSTGRES_PORT=value)

    assert problems(preflight.port_values(compose.settings)) == []


@pytest.mark.parametrize(("value", "found"), [("many", ["PARALLELISM is 'many'"]), ("8", []), ("", [])])
def test_what_is_no_number_of_slots_is_named(compose: ComposeStack, value: str, found: list[str]) -> None:
    change(compose, PARALLELISM=value)

    assert problems(preflight.settings_findings(compose.settings)) == found


def test_two_services_cannot_have_one_port(compose: ComposeStack) -> None:
    change(compose, WEBSERVER_PORT="9000", LOCALSTACK_PORT="9000")

    assert problems(preflight.port_values(compose.settings)) == [
        "LOCALSTACK_PORT and WEBSERVER_PORT are both 9000"
    ]


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("config/pools.json", "{", "pools.json in the config folder is not JSON"),
        ("config/variables.json", "[]", "variables.json in the config folder must be a JSON object"),
        (
            "config/airflow.cfg",
            "core]\n",
            "airflow.cfg in the config folder: File contains no section headers",
        ),
        ("config/airflow.cfg", "[core]\na=1\na=2\n", "option 'a' in section 'core' already exists"),
        ("config/aws.json", '{"s3": {"no_such": [{}]}}', "s3 has no operation no_such"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    compose: ComposeStack, checkout: Path, file: str, text: str, problem: str
) -> None:
    (checkout / file).parent.mkdir(exist_ok=True)
    (checkout / file).write_text(text)

    (found,) = problems(preflight.settings_files(compose.settings))

    assert problem in found


def test_a_folder_that_is_not_there_is_named_with_its_setting(compose: ComposeStack, checkout: Path) -> None:
    change(compose, DAGS_FOLDER="elsewhere")

    (finding,) = preflight.settings_files(compose.settings)

    assert finding.problem == f"the folder {checkout / 'elsewhere'} is not there"
    assert "DAGS_FOLDER" in finding.remedy


# Ports in use


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_another_program_uses_is_named_with_it(compose: ComposeStack, busy_port: int) -> None:
    change(compose, WEBSERVER_PORT=str(busy_port))

    (finding,) = preflight.ports_in_use(compose)

    assert finding.problem.startswith(f"port {busy_port} is in use by python")
    assert "WEBSERVER_PORT=0" in finding.remedy


def test_a_port_that_another_container_uses_is_named_with_it(
    compose: ComposeStack, docker: Docker, busy_port: int
) -> None:
    change(compose, WEBSERVER_PORT=str(busy_port))
    docker.answers(f"ps --filter publish={busy_port}", "their-web other\n")

    assert problems(preflight.ports_in_use(compose)) == [
        f"port {busy_port} is in use by the container their-web"
    ]


def test_the_port_of_our_own_running_stack_is_fine(
    compose: ComposeStack, docker: Docker, busy_port: int
) -> None:
    change(compose, WEBSERVER_PORT=str(busy_port))
    docker.answers(f"ps --filter publish={busy_port}", "tunnel-webserver-1 tunnel\n")

    assert problems(preflight.ports_in_use(compose)) == []


def test_a_free_port_is_fine(compose: ComposeStack, busy_port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        free = other.getsockname()[1]
    change(compose, WEBSERVER_PORT=str(free))

    assert problems(preflight.ports_in_use(compose)) == []


@pytest.mark.parametrize("kind", ["compose", "local"])
def test_a_port_that_is_not_set_is_no_finding(
    request: pytest.FixtureRequest, busy_port: int, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Another one is taken then."""
    stack: Stack = request.getfixturevalue(kind)
    monkeypatch.setattr(preflight, "PORTS", {"webserver": Port(busy_port, "WEBSERVER_PORT")})
    change(stack, WEBSERVER_PORT="")

    assert problems(preflight.ports_in_use(stack)) == []


def test_the_port_of_our_own_processes_is_fine(
    local: ProcessStack, busy_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(local, WEBSERVER_PORT=str(busy_port))
    (problem,) = problems(preflight.ports_in_use(local))
    assert problem.startswith(f"port {busy_port} is in use by ")

    # Supervised or not: `up` ends what is left of it before it takes the port.
    monkeypatch.setattr(local, "is_there", lambda: True)
    monkeypatch.setattr(local, "port", lambda _: busy_port)
    assert problems(preflight.ports_in_use(local)) == []

    # Ours runs, but elsewhere.
    monkeypatch.setattr(local, "port", lambda _: busy_port + 1)
    assert len(problems(preflight.ports_in_use(local))) == 1


def test_the_same_stack_in_compose_is_named(local: ProcessStack, docker: Docker) -> None:
    assert problems(choose.on_other_engines(local)) == []

    answer_stack(docker, [container("webserver")])
    (finding,) = choose.on_other_engines(local)
    assert finding.problem == "the stack tunnel runs on the engine compose already"
    assert "./windtunnel down --engine compose" in finding.remedy


def test_without_a_docker_engine_there_is_no_stack_in_compose(local: ProcessStack, docker: Docker) -> None:
    docker.answers("version", code=1)
    docker.answers("ps", code=1)

    assert problems(choose.on_other_engines(local)) == []


def test_a_compose_file_that_cannot_be_read_is_a_finding(compose: ComposeStack, docker: Docker) -> None:
    docker.answers("compose config", code=15, errors="invalid project name")

    assert problems(preflight.engine_findings(compose)) == [
        "reading the compose file failed (exit code 15): invalid project name"
    ]


def test_a_wrong_function_does_not_keep_the_rest_from_starting(compose: ComposeStack, checkout: Path) -> None:
    """LocalStack names it, as the dag-processor names a wrong DAG."""
    (checkout / "lambdas" / "empty").mkdir()

    assert problems(preflight.settings_files(compose.settings)) == []


def test_check_refuses_with_all_that_needs_no_engine(compose: ComposeStack, docker: Docker) -> None:
    said: list[str] = []
    change(compose, WEBSERVER_PORT="abc", AWS_PROFILE="prod")

    with pytest.raises(Unmet) as caught:
        preflight.check(compose, said.append)

    assert [finding.problem for finding in caught.value.findings] == [
        "AWS_PROFILE is set (prod)",
        "WEBSERVER_PORT is 'abc'",
    ]
    assert docker.calls == [], "nothing was asked of an engine"


def test_the_local_engine_hands_out_no_socket(local: ProcessStack) -> None:
    with_docker = type(local)(replace(local.settings, overlays=[ROOT / "overlays" / "docker.yml"]))

    (problem,) = problems(preflight.engine_findings(with_docker))

    assert "is for the engine compose alone" in problem


def test_the_local_engine_needs_no_docker(local: ProcessStack, docker: Docker) -> None:
    said: list[str] = []
    docker.answers("version", code=1)

    preflight.check(local, said.append)

    assert said == []


@pytest.mark.bad_input(66)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("POSTGRES_ADDRESS", "the stack sets it itself"),
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "the stack sets it itself"),
        ("AIRFLOW__CORE__FERNET_KEY_CMD", "the stack sets it itself"),
        ("AIRFLOW__API__SECRET_KEY_SECRET", "the stack sets it itself"),
        ("AWS_SESSION_TOKEN", "takes no credentials"),
    ],
)
def test_what_the_stack_needs_is_refused_by_name_in_env(checkout: Path, name: str, said: str) -> None:
    shutil.copy(ROOT / "docker-compose.yml", checkout)
    (checkout / ".env").write_text(f"{name}=hunter2\n")

    (finding,) = preflight.settings_findings(Settings.of("tunnel", root=checkout))

    assert finding.problem.startswith(f"{name} in {checkout}/.env: ")
    assert said in finding.problem
    assert "hunter2" not in str(finding)


@pytest.mark.parametrize(
    "line",
    [
        "AIRFLOW_VAR_X=1",
        "AIRFLOW__CORE__PARALLELISM=8",
        "NO_PROXY=mine",
        "no_proxy=mine",
        "MINE=a",
        "PARALLELISM=8",
    ],
)
def test_the_users_own_is_not_refused_in_env(checkout: Path, line: str) -> None:
    shutil.copy(ROOT / "docker-compose.yml", checkout)
    (checkout / ".env").write_text(f"{line}\n")

    assert preflight.settings_findings(Settings.of("tunnel", root=checkout)) == []


@pytest.mark.parametrize(("variables", "name"), DANGERS.values(), ids=list(DANGERS))
def test_what_could_reach_real_aws_is_refused_in_env_too(
    checkout: Path, variables: dict[str, str], name: str
) -> None:
    (checkout / ".env").write_text("".join(f"{key}={value}\n" for key, value in variables.items()))

    (finding,) = preflight.settings_findings(Settings.of("tunnel", root=checkout))

    assert name in finding.problem
