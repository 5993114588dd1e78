from pathlib import Path

import pytest

from windtunnel.compose.docker import size, version_findings
from windtunnel.compose.stack import ComposeStack
from windtunnel.stack.errors import Unmet

from ..conftest import offline_script, problems
from ..stand_ins.docker import Docker


@pytest.mark.parametrize(
    ("docker_version", "plugin", "problem"),
    [
        ("24.0.9", "2.26.1", "Docker Engine 24.0.9 is too old"),
        ("25.0.0", "2.23.3", "Docker Compose 2.23.3 is too old"),
    ],
)
def test_old_versions_are_refused(
    compose: ComposeStack, docker: Docker, docker_version: str, plugin: str, problem: str
) -> None:
    docker.answers("version", docker_version)
    docker.answers("compose version", plugin)

    assert problems(version_findings(compose)) == [problem]


def test_the_oldest_good_versions_are_taken(compose: ComposeStack, docker: Docker) -> None:
    docker.answers("version", "25.0.0")
    docker.answers("compose version", "2.24.0")

    assert problems(version_findings(compose)) == []


def test_no_engine_and_no_compose(compose: ComposeStack, docker: Docker) -> None:
    docker.answers("compose version", code=1)
    assert problems(version_findings(compose)) == ["Docker Compose is missing"]

    docker.answers("version", code=1)
    assert problems(version_findings(compose)) == ["no Docker Engine answers"]


@pytest.mark.usefixtures("debian_root")
def test_an_engine_is_installed_where_that_is_possible(
    compose: ComposeStack, docker: Docker, checkout: Path, said: list[str]
) -> None:
    docker.answers("version", "26.1.5", fails=1)
    offline_script(checkout, "engine.sh", "echo installing")

    compose.get_engine(said.append)

    assert said == ["installing"]


@pytest.mark.usefixtures("nobody")
def test_without_root_a_missing_engine_is_refused(
    compose: ComposeStack, docker: Docker, said: list[str]
) -> None:
    docker.answers("version", code=1)

    with pytest.raises(Unmet, match="no Docker Engine answers"):
        compose.get_engine(said.append)


@pytest.mark.parametrize(
    ("text", "found"),
    [("12.5MiB / 23GiB", 12.5 * 2**20), ("1.5GiB / 23GiB", 1.5 * 2**30), ("0B / 0B", 0), ("-- / --", 0)],
)
def test_sizes_as_docker_stats_writes_them(text: str, found: float) -> None:
    assert size(text) == found
