from pathlib import Path

import pytest

from windtunnel.compose import images
from windtunnel.compose.stack import ComposeStack
from windtunnel.stack.errors import Unmet

from ..conftest import offline_script
from ..stand_ins.docker import Docker


def test_base_images_are_those_that_are_not_built_here(compose: ComposeStack) -> None:
    assert images.base_images(compose) == ["postgres:17", "python:3.13-slim-trixie"]


def test_missing_images(compose: ComposeStack, docker: Docker) -> None:
    docker.answers("image inspect", code=1, errors="No such image")
    docker.answers("image inspect --format {{.Id}} here", "sha256:1")

    assert images.missing(compose, ["here", "gone"]) == ["gone"]


def test_images_that_are_there_are_not_pulled(compose: ComposeStack, docker: Docker, said: list[str]) -> None:
    docker.answers("image inspect", "sha256:1")

    images.get_base_images(compose, said.append)

    assert said == []
    assert not any(call.startswith("pull") for call in docker.calls)


def test_missing_images_are_pulled(compose: ComposeStack, docker: Docker, said: list[str]) -> None:
    docker.answers("image inspect", code=1)
    docker.answers("pull", "Pulling\nDone\n")

    images.get_base_images(compose, said.append)

    assert said == ["pulling postgres:17", "pulling python:3.13-slim-trixie"]


@pytest.mark.usefixtures("debian_root")
def test_where_no_registry_answers_stand_ins_are_made(
    compose: ComposeStack, docker: Docker, checkout: Path, said: list[str]
) -> None:
    docker.answers("image inspect", code=1)
    docker.answers("pull", code=1)
    docker.answers("pull python", "Pulling\n")
    offline_script(checkout, "images.sh", 'echo "making $*"')

    images.get_base_images(compose, said.append)

    assert said[-1] == "making postgres:17"


@pytest.mark.usefixtures("nobody")
def test_where_nothing_can_be_done_the_missing_images_are_named(
    compose: ComposeStack, docker: Docker, said: list[str]
) -> None:
    docker.answers("image inspect", code=1)
    docker.answers("pull", code=1)

    with pytest.raises(Unmet, match=r"no registry has postgres:17, python:3\.13-slim-trixie for us"):
        images.get_base_images(compose, said.append)


def test_a_registry_that_does_not_answer_is_given_up(
    compose: ComposeStack, docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "REGISTRY_TIMEOUT", 0.2)
    docker.answers("pull", holds=True)

    assert images.pull(compose, "postgres:17") is False


def test_a_build_gets_requirements_and_constraints_as_one_file_each(
    compose: ComposeStack, docker: Docker, checkout: Path
) -> None:
    """It sees nothing but the checkout, and of that only what .dockerignore names."""
    docker.answers("image inspect", "sha256:1")
    docker.answers("compose --progress plain build")
    (checkout / "requirements.txt").write_text("-c limits.txt\n-r base.txt\nsix\n")
    (checkout / "base.txt").write_text("-c more.txt\nidna\n")
    (checkout / "limits.txt").write_text("six==1.16.0\n")
    (checkout / "more.txt").write_text("idna<4\n")
    copy, constraints = (checkout / ".windtunnel" / name for name in ("requirements.txt", "constraints.txt"))

    images.build(compose, print, print)

    assert copy.read_text() == "idna\nsix\n-c constraints.txt\n"
    assert constraints.read_text() == "six==1.16.0\nidna<4\n"

    (checkout / "requirements.txt").write_text("six\n")
    images.build(compose, print, print)

    assert not constraints.exists()
