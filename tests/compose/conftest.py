"""The stack as ``docker compose up`` starts it: pytest-docker's fixtures, without ``./windtunnel``."""

import json
import os
from collections.abc import Iterator

import pytest
from pytest_docker.plugin import DockerComposeExecutor, Services

from tests.support import EVIDENCE, left_in_docker, no_aws_settings_of_this_machine
from windtunnel.stack.settings import ROOT


@pytest.fixture(scope="session")
def docker_compose_file() -> str:
    return str(ROOT / "docker-compose.yml")


@pytest.fixture(scope="session")
def docker_setup() -> Iterator[str]:
    """What a user types, on free ports and with the images that are there."""
    with pytest.MonkeyPatch.context() as patch, no_aws_settings_of_this_machine():
        patch.setenv("WEBSERVER_PORT", "0")
        patch.setenv("LOCALSTACK_PORT", "0")
        patch.setenv("WINDTUNNEL_IMAGE", os.environ.get("WINDTUNNEL_IMAGE", ROOT.name))
        yield "up --detach --wait"


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    """Keep the logs; then remove everything."""
    EVIDENCE.mkdir(parents=True, exist_ok=True)
    return [f'logs --no-color >"{EVIDENCE}/compose.log"', "down --volumes --timeout 0"]


@pytest.fixture(scope="session")
def docker_compose_project_name(
    docker_compose_command: str, docker_compose_file: str, docker_cleanup: list[str]
) -> Iterator[str]:
    """A project of this run, of which nothing is left at the end."""
    project = f"windtunnel-compose-{os.getpid()}"
    yield project
    # pytest-docker itself cleans up only after a start that has succeeded.
    if left_in_docker(project):
        compose = DockerComposeExecutor(docker_compose_command, docker_compose_file, project)
        for command in docker_cleanup:
            compose.execute(command)
    left = left_in_docker(project)
    assert not left, f"{project} leaves behind: {', '.join(left)}"


@pytest.fixture(scope="session")
def login(
    docker_services: Services,
    docker_compose_command: str,
    docker_compose_file: str,
    docker_compose_project_name: str,
) -> dict[str, str]:
    """The web page's user and password, which ``docker compose logs init`` prints for people."""
    compose = DockerComposeExecutor(docker_compose_command, docker_compose_file, docker_compose_project_name)
    file = "$SECRETS_FOLDER/simple_auth_manager_passwords.json"
    answer = compose.execute(f"exec --no-TTY webserver sh -c 'cat \"{file}\"'", ignore_stderr=True)
    ((user, password),) = json.loads(answer).items()
    return {"username": user, "password": password}
