import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from windtunnel.compose.stack import ComposeStack
from windtunnel.local.stack import ProcessStack
from windtunnel.stack import choose, overlays, repository
from windtunnel.stack.errors import StackError
from windtunnel.stack.settings import Settings

from ..stand_ins.docker import Docker


@pytest.fixture(autouse=True)
def _this_checkout(docker: Docker, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout on a machine where a Docker Engine answers."""
    monkeypatch.setattr(choose, "choose", partial(choose.choose, root=checkout))


def chosen(name: str | None = None, **environment: str) -> tuple[str, str]:
    choice = choose.choose(name, project="tunnel", variables=environment)
    return choice.stack.engine, choice.reason


@pytest.fixture
def runs_locally(checkout: Path) -> Iterator[None]:
    """Something of the local engine's stack is there."""
    run_folder = ProcessStack(Settings.of("tunnel", root=checkout)).layout.run
    run_folder.mkdir(parents=True)
    service = subprocess.Popen(
        ["sleep", "600"], env={"TMPDIR": str(run_folder / "tmp"), "PATH": "/usr/bin:/bin"}
    )
    yield
    service.kill()
    service.wait()


@pytest.mark.usefixtures("runs_locally")
@pytest.mark.parametrize("name", ["compose", "local"])
def test_the_option_goes_before_all_else(name: str) -> None:
    other = {"compose": "local", "local": "compose"}[name]

    assert chosen(name, WINDTUNNEL_ENGINE=other) == (name, "--engine says so")


@pytest.mark.usefixtures("runs_locally")
@pytest.mark.parametrize("name", ["compose", "local"])
def test_then_comes_the_setting(checkout: Path, name: str) -> None:
    assert chosen(WINDTUNNEL_ENGINE=name) == (name, "WINDTUNNEL_ENGINE says so")

    (checkout / ".env").write_text(f"WINDTUNNEL_ENGINE={name}\n")
    assert chosen() == (name, "WINDTUNNEL_ENGINE says so")


@pytest.mark.usefixtures("runs_locally")
def test_then_the_running_stack() -> None:
    assert chosen() == ("local", "this checkout's stack runs so")


def test_then_what_this_machine_has(docker: Docker) -> None:
    assert chosen() == ("compose", "a Docker Engine answers")

    docker.answers("version", code=1)
    assert chosen() == ("local", "no Docker Engine answers")


def test_a_machine_without_the_command_has_no_engine() -> None:
    assert chosen(PATH="/nowhere") == ("local", "no Docker Engine answers")


def test_nothing_is_asked_of_docker_where_that_is_not_needed(docker: Docker) -> None:
    chosen("local")
    chosen(WINDTUNNEL_ENGINE="local")

    assert docker.calls == []


@pytest.mark.parametrize(
    ("name", "setting", "problem"),
    [("podman", "local", "--engine is 'podman'"), (None, "podman", "WINDTUNNEL_ENGINE is 'podman'")],
)
def test_a_name_that_is_none_is_refused(name: str | None, setting: str, problem: str) -> None:
    with pytest.raises(StackError, match=problem) as caught:
        chosen(name, WINDTUNNEL_ENGINE=setting)

    assert caught.value.next_step == "There are: compose, local."


@pytest.mark.parametrize("name", ["compose", "local"])
def test_what_an_engine_is_made_with_is_the_same_for_both(checkout: Path, name: str) -> None:
    (checkout / "mine.yml").write_text("services: {it: {environment: {A: b}}}")
    stack = choose.choose(
        name, project="mine", variables={"LEVEL": "high"}, with_=[str(checkout / "mine.yml")]
    ).stack

    assert stack.settings.get("LEVEL") == "high"
    assert stack.settings.get("COMPOSE_PROJECT_NAME") == "mine"
    assert (stack.root, stack.state_folder) == (checkout, checkout / ".windtunnel")
    if isinstance(stack, ProcessStack):
        assert stack.configuration["services"] == {"it": {"environment": {"A": "b"}}}
    else:
        assert stack.command_variables["COMPOSE_FILE"].endswith(":" + str(checkout / "mine.yml"))


def test_command_line_and_plugin_take_the_engines_that_there_are() -> None:
    assert list(repository.ENGINES) == list(choose.ENGINES)
    assert [ComposeStack.engine, ProcessStack.engine] == list(choose.ENGINES)


@pytest.mark.parametrize("name", ["compose", "local"])
def test_state_may_be_kept_elsewhere(checkout: Path, tmp_path: Path, name: str) -> None:
    """Where the stack comes from a package, it is the repository of the user."""
    stack = choose.choose(name, project="mine", state_folder=tmp_path / "state").stack

    assert stack.root == checkout
    assert stack.state_folder == tmp_path / "state"
    if isinstance(stack, ProcessStack):
        assert stack.layout.run == tmp_path / "state" / "local" / "mine" / "run"
        assert stack.venvs.folder == tmp_path / "state" / "venvs"


# Overlays


@pytest.fixture
def overlay(checkout: Path) -> Path:
    (checkout / "overlays").mkdir()
    for name in ("celery", "emr"):
        (checkout / "overlays" / f"{name}.yml").write_text("services: {}\n")
    return checkout / "overlays" / "celery.yml"


def with_(**options: Any) -> tuple[list[str], dict[str, int]]:
    settings = choose.choose("local", project="tunnel", **options).stack.settings
    return [path.stem for path in settings.overlays], dict(settings.scale)


@pytest.mark.usefixtures("runs_locally")
def test_what_runs_is_followed(overlay: Path, checkout: Path) -> None:
    overlays.remember(replace(Settings.of("tunnel", root=checkout), overlays=(overlay,), scale={"worker": 2}))
    setting = {"WINDTUNNEL_WITH": "emr"}

    assert with_() == (["celery"], {"worker": 2})
    assert with_(variables=setting) == (["celery"], {"worker": 2})
    # A start does what is asked for now, and what is not asked for stays as it is.
    assert with_(starting=True) == (["celery"], {"worker": 2})
    assert with_(starting=True, variables=setting) == (["emr"], {})
    assert with_(starting=True, with_=["emr"]) == (["emr"], {})
    assert with_(starting=True, scale={"worker": 3}) == (["celery"], {"worker": 3})


def test_what_does_not_run_any_more_is_not_followed(overlay: Path, checkout: Path) -> None:
    overlays.remember(replace(Settings.of("tunnel", root=checkout), overlays=(overlay,)))

    assert with_() == ([], {})
    assert with_(variables={"WINDTUNNEL_WITH": "emr", "WINDTUNNEL_SCALE": "a=2"}) == (["emr"], {"a": 2})
