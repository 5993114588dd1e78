import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from windtunnel.compose.stack import ComposeStack
from windtunnel.dev import suite
from windtunnel.dev.commands import get_beside
from windtunnel.local.stack import ProcessStack
from windtunnel.local.venvs import Venvs
from windtunnel.stack.base import Stack
from windtunnel.stack.settings import ROOT

from ..conftest import change
from ..stand_ins.docker import Docker


def commands(steps: Iterable[suite.Step]) -> list[str]:
    return [" ".join(step.command) for step in steps]


IN_AIRFLOW = " ".join(suite.BESIDE[0].tests)
APART = " ".join(f"--ignore={path}" for beside in suite.BESIDE for path in beside.tests)


def test_the_unit_floor_runs_each_part_in_the_image_where_it_belongs(compose: ComposeStack) -> None:
    host, airflow, localstack = commands(suite.test_steps(compose, "unit", ["-k", "relay"], rare=False))

    assert host.endswith(f"-m pytest tests/unit {APART} -n {suite.WORKERS} -k relay")
    for inside, image, python, folders in (
        (
            airflow,
            "checkout-airflow-test",
            "/opt/venv/bin/python",
            IN_AIRFLOW,
        ),
        (localstack, "checkout-localstack-test", "/opt/localstack/bin/python", "tests/unit/emulator"),
    ):
        assert inside.startswith("docker run --rm --init --network none ")
        assert f"--entrypoint {python} {image} -m pytest" in inside
        assert inside.endswith(f"{folders} -k relay")


def test_the_unit_floor_runs_each_part_in_the_environment_where_it_belongs(local: ProcessStack) -> None:
    host, *beside = suite.test_steps(local, "unit", ["-k", "relay"], rare=False)

    assert " ".join(host.command).endswith(f"-m pytest tests/unit {APART} -n {suite.WORKERS} -k relay")
    venvs = Venvs(local)
    for step, name, folders in (
        (
            beside[0],
            "airflow",
            IN_AIRFLOW,
        ),
        (beside[1], "localstack", "tests/unit/emulator"),
    ):
        command = " ".join(step.command)
        assert command.startswith(f"{venvs.python(name)} -m pytest ")
        assert command.endswith(f"{folders} -k relay")
        path = step.variables["PYTHONPATH"].split(":")
        assert {str(local.root / "src"), str(venvs.test_tools)} <= set(path)
    assert str(local.root / "emulator/src") in beside[1].variables["PYTHONPATH"].split(":")


def test_types_are_checked_with_the_environment_that_the_code_runs_in(
    compose: ComposeStack, local: ProcessStack
) -> None:
    for stack, places in ((compose, ("/opt/venv", "/opt/localstack")), (local, ("airflow", "localstack"))):
        beside = [step for step in suite.check_steps(stack) if step.name.startswith("mypy, in ")]
        for step, place in zip(beside, places, strict=True):
            assert f"{place}/bin/python" in " ".join(step.command)


@pytest.mark.parametrize("floor", ["stack", "compose", "e2e", "faults"])
def test_the_other_floors_run_here(compose: ComposeStack, floor: str) -> None:
    (step,) = suite.test_steps(compose, floor, ["-x"], rare=False)

    assert " ".join(step.command).endswith(f"-m pytest tests/{floor} -x")


def test_what_is_rare_runs_when_all_is_asked_for(compose: ComposeStack) -> None:
    (step,) = suite.test_steps(compose, "faults", ["-x"], rare=True)

    assert " ".join(step.command).endswith("-m pytest tests/faults --all -x")


def test_all_of_it_is_run_with_each_overlay_that_the_engine_runs(
    compose: ComposeStack, local: ProcessStack
) -> None:
    def overlays_of(stack: Stack, floor: str) -> list[str]:
        plain, *others = suite.test_steps(stack, floor, [], rare=True)
        assert "--windtunnel-with" not in plain.command
        assert all(step.command[3:5] == [f"tests/{floor}", "--all"] for step in (plain, *others))
        return [step.command[step.command.index("--windtunnel-with") + 1] for step in others]

    executors = ["ecs", "batch", "lambda-executor", "celery"]
    assert overlays_of(local, "e2e") == [*executors, "ecs-ec2", "bundle"]
    assert overlays_of(compose, "e2e") == [*executors, "ecs-ec2", "bundle", "docker"]
    assert overlays_of(local, "faults") == overlays_of(compose, "faults") == executors
    assert overlays_of(local, "stack") == []


def test_every_part_of_the_code_is_tested_and_checked_once(compose: ComposeStack) -> None:
    # What is left out on this machine is what an image takes over.
    (mypy,) = [step for step in suite.check_steps(compose) if step.name == "mypy"]
    apart = mypy.command[-1]

    for beside in suite.BESIDE:
        for folder in (*beside.tests, *beside.sources):
            assert (ROOT / folder).exists(), folder
        assert all(folder in apart for folder in beside.tests)


def test_every_shell_script_of_the_checkout_is_checked() -> None:
    scripts = {
        str(path.relative_to(ROOT))
        for folder in (".", ".ci", "locks", "offline")
        for path in (ROOT / folder).glob("**/*" if folder == "offline" else "*")
        if path.is_file()
        and path.read_bytes().startswith((b"#!/usr/bin/env bash", b"#!/bin/sh", b"# What engine"))
    }

    assert scripts
    assert set(suite.shell_scripts(ROOT)) >= scripts


def test_a_step_passes_its_exit_code_on_and_names_the_images(
    compose: ComposeStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(compose, COMPOSE_PROJECT_NAME="tunnel")
    noted = tmp_path / "noted"
    step = suite.Step("it", ["sh", "-c", f'echo "$WINDTUNNEL_IMAGE-$COMPOSE_PROJECT_NAME" >{noted}; exit 5'])

    assert step.run(compose) == 5
    assert noted.read_text() == "tunnel-\n"


def test_a_step_runs_on_the_same_engine_with_its_own_environment(local: ProcessStack, tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    command = ["sh", "-c", f'echo "$WINDTUNNEL_ENGINE $OWN [$WINDTUNNEL_IMAGE]" >{noted}']

    assert suite.Step("it", command, {"OWN": "1"}).run(local) == 0
    assert noted.read_text() == "local 1 [tunnel]\n"


def test_tools_for_the_local_engine_are_installed(
    local: ProcessStack, docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[Path] = []
    monkeypatch.setattr(Venvs, "install", lambda *_: None)
    monkeypatch.setattr(Venvs, "install_test_tools", lambda self: installed.append(self.test_tools))

    get_beside(local)

    assert installed == [Venvs(local).test_tools]
    assert docker.calls == []


def test_test_images_are_built_with_the_machines_certificates(compose: ComposeStack, docker: Docker) -> None:
    change(compose, CA_BUNDLE="/bundle")
    docker.answers("image inspect", "sha256:1")
    docker.answers("build", "done\n")

    get_beside(compose)

    builds = [call for call in docker.calls if call.startswith("build")]
    assert [call.split("--target ")[1] for call in builds] == [
        "airflow-test --tag checkout-airflow-test .",
        "localstack-test --tag checkout-localstack-test .",
    ]
    assert all("--secret id=ca_bundle,src=/bundle" in call for call in builds)


def test_a_whole_unit_floor_prints_its_coverage_and_a_part_does_not(compose: ComposeStack) -> None:
    assert [step.name for step in suite.test_steps(compose, "unit", [], rare=False)][1].startswith(
        "unit, coverage"
    )
    assert not any("--cov" in step.command for step in suite.test_steps(compose, "unit", ["-x"], rare=False))


def test_a_secret_in_any_file_is_found(compose: ComposeStack, capfd: pytest.CaptureFixture[str]) -> None:
    root = compose.root
    subprocess.run(["git", "init", "--quiet", root], check=True)
    planted = root / "dags" / "planted.py"
    planted.write_text("KEY = 'AKIA" + "QWERTYUIOPASDFGH'\n")
    (root / "dags" / "example.py").write_text("KEY = 'AKIAIOSFODNN7EXAMPLE'\n")

    def scan() -> int:
        (step,) = [step for step in suite.quick_steps(compose) if step.name == "secrets"]
        return step.run(compose)

    assert scan() != 0
    found = capfd.readouterr().out
    assert "dags/planted.py:1" in found
    assert "example.py" not in found

    planted.unlink()
    assert scan() == 0
