from pathlib import Path

import pytest

from windtunnel.compose.stack import ComposeStack
from windtunnel.local.stack import ProcessStack
from windtunnel.stack import prepare

from ..conftest import Docker


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def debian_root(monkeypatch: pytest.MonkeyPatch, docker: Docker) -> None:
    (Path(docker.path) / "apt-get").touch(mode=0o755)
    monkeypatch.setattr("os.geteuid", lambda: 0)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)


def offline_script(checkout: Path, name: str, text: str) -> None:
    script = checkout / "offline" / name
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)


def test_check_refuses_with_all_that_needs_no_engine(
    compose: ComposeStack, docker: Docker, said: list[str]
) -> None:
    compose.environment |= {"WEBSERVER_PORT": "abc", "AWS_PROFILE": "prod"}

    with pytest.raises(prepare.Unmet) as caught:
        prepare.check(compose, said.append)

    assert [finding.problem for finding in caught.value.findings] == [
        "AWS_PROFILE is set (prod)",
        "WEBSERVER_PORT is 'abc'",
    ]
    assert docker.calls == [], "nothing was asked of an engine"


@pytest.mark.usefixtures("debian_root")
def test_the_local_engine_needs_no_docker(local: ProcessStack, docker: Docker, said: list[str]) -> None:
    docker.answers("version", code=1)

    prepare.check(local, said.append)

    assert said == []


def test_the_local_engine_is_made_of_environments(
    local: ProcessStack, docker: Docker, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local.venvs, "install", lambda say: say("installing"))

    prepare.parts(local, said.append, said.append)

    assert said == ["installing"]
    assert docker.calls == []


def test_a_local_stack_is_as_good_as_its_environments(
    local: ProcessStack, compose: ComposeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prepare.is_prepared(compose)
    assert not prepare.is_prepared(local)

    monkeypatch.setattr(local.venvs, "missing", list)
    assert prepare.is_prepared(local)


def test_where_the_usual_port_is_taken_docker_chooses_one(
    compose: ComposeStack, docker: Docker, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windtunnel.stack.ports.is_taken", lambda port: port == 4566)
    monkeypatch.setattr("windtunnel.stack.ports.process_on", lambda _: "nginx (process 1)")
    for name in ("WEBSERVER_PORT", "LOCALSTACK_PORT"):
        del compose.environment[name]

    prepare.free_ports(compose, said.append)

    assert said == ["port 4566 is in use by nginx (process 1): localstack takes another"]
    assert compose.setting("LOCALSTACK_PORT") == "0"
    assert compose.setting("WEBSERVER_PORT") == ""

    # Our own stack has it.
    del compose.environment["LOCALSTACK_PORT"]
    docker.answers("ps --filter publish=4566", "tunnel-localstack-1 tunnel\n")
    prepare.free_ports(compose, said.append)
    assert compose.setting("LOCALSTACK_PORT") == ""


@pytest.mark.usefixtures("debian_root")
def test_an_engine_is_installed_where_that_is_possible(
    compose: ComposeStack, docker: Docker, checkout: Path, said: list[str]
) -> None:
    docker.answers("version", "26.1.5", fails=1)
    offline_script(checkout, "engine.sh", "echo installing")

    prepare.docker(compose, said.append)

    assert said == ["installing"]


@pytest.mark.usefixtures("nobody")
def test_without_root_a_missing_engine_is_refused(
    compose: ComposeStack, docker: Docker, said: list[str]
) -> None:
    docker.answers("version", code=1)

    with pytest.raises(prepare.Unmet, match="no Docker engine answers"):
        prepare.docker(compose, said.append)


@pytest.mark.usefixtures("debian_root")
def test_a_failing_script_ends_with_its_last_words(
    compose: ComposeStack, checkout: Path, said: list[str]
) -> None:
    offline_script(checkout, "browser.sh", "echo 'offline: no mirror' >&2; exit 2")

    with pytest.raises(prepare.Unmet, match="offline: no mirror") as caught:
        prepare.offline("browser.sh", stack=compose, say=said.append)

    assert caught.value.findings[0].remedy == "By hand: offline/browser.sh"


# Base images


def test_images_that_are_there_are_not_pulled(compose: ComposeStack, docker: Docker, said: list[str]) -> None:
    docker.answers("image inspect", "sha256:1")

    prepare.base(compose, said.append)

    assert said == []
    assert not any(call.startswith("pull") for call in docker.calls)


def test_missing_images_are_pulled(compose: ComposeStack, docker: Docker, said: list[str]) -> None:
    docker.answers("image inspect", code=1)
    docker.answers("pull", "Pulling\nDone\n")

    prepare.base(compose, said.append)

    assert said == ["pulling postgres:17", "pulling python:3.13-slim-trixie"]


@pytest.mark.usefixtures("debian_root")
def test_where_no_registry_answers_stand_ins_are_made(
    compose: ComposeStack, docker: Docker, checkout: Path, said: list[str]
) -> None:
    docker.answers("image inspect", code=1)
    docker.answers("pull", code=1)
    docker.answers("pull python", "Pulling\n")
    offline_script(checkout, "images.sh", 'echo "making $*"')

    prepare.base(compose, said.append)

    assert said[-1] == "making postgres:17"


@pytest.mark.usefixtures("nobody")
def test_where_nothing_can_be_done_the_missing_images_are_named(
    compose: ComposeStack, docker: Docker, said: list[str]
) -> None:
    docker.answers("image inspect", code=1)
    docker.answers("pull", code=1)

    with pytest.raises(prepare.Unmet, match=r"no registry has postgres:17, python:3\.13-slim-trixie for us"):
        prepare.base(compose, said.append)


def test_a_registry_that_does_not_answer_is_given_up(
    compose: ComposeStack, docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "REGISTRY_TIMEOUT", 0.2)
    docker.answers("pull", holds=True)

    assert prepare.pull(compose, "postgres:17") is False


# The browser


def test_a_browser_that_is_there_is_taken(compose: ComposeStack, docker: Docker, said: list[str]) -> None:
    (Path(docker.path) / "chromium").touch(mode=0o755)

    prepare.browser(compose, said.append)

    assert said == []


# What a build shows


def test_build_progress_shows_each_step_and_says_the_long_ones() -> None:
    said: list[str] = []
    shown: list[str] = []
    progress = prepare.BuildProgress(said.append, shown.append)

    for line in (
        "#1 [internal] load build definition from Dockerfile",
        "#1 DONE 0.0s",
        "#7 [airflow-builder 2/3] RUN uv pip sync",
        "#7 0.512 some output DONE 9s",
        "#7 DONE 12.3s",
        "#8 [airflow 1/2] RUN useradd",
        "#8 CACHED",
    ):
        progress(line)

    assert shown[-1] == "[airflow 1/2] RUN useradd"
    assert said == ["[airflow-builder 2/3] RUN uv pip sync 12.3 s"]
