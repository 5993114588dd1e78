from pathlib import Path

import pytest

from windtunnel import suite
from windtunnel.compose import ROOT, Compose

from .conftest import Docker


def commands(steps: "list[suite.Step]") -> list[str]:
    return [" ".join(step.command) for step in steps]


def test_the_unit_floor_runs_each_part_where_it_belongs(compose: Compose) -> None:
    host, airflow, localstack = commands(list(suite.test_steps(compose, "unit", ["-k", "relay"])))

    apart = " ".join(f"--ignore=tests/unit/{part}" for part in ("custom", "dags", "emulator"))
    assert host.endswith(f"-m pytest tests/unit {apart} -k relay")
    for inside, image, folders in (
        (airflow, "tunnel-airflow-test", "tests/unit/custom tests/unit/dags"),
        (localstack, "tunnel-localstack-test", "tests/unit/emulator"),
    ):
        assert inside.startswith("docker run --rm --init --network none ")
        assert f"{image} -m pytest" in inside
        assert inside.endswith(f"{folders} -k relay")


@pytest.mark.parametrize("floor", ["stack", "e2e", "faults"])
def test_the_other_floors_run_here(compose: Compose, floor: str) -> None:
    (step,) = suite.test_steps(compose, floor, ["-x"])

    assert " ".join(step.command).endswith(f"-m pytest tests/{floor} -x")


def test_every_part_of_the_code_is_tested_and_checked_once(compose: Compose) -> None:
    # What is left out on this machine is what an image takes over.
    (mypy,) = [step for step in suite.check_steps(compose) if step.name == "mypy"]
    apart = mypy.command[-1]

    for beside in suite.IMAGES:
        for folder in (*beside.tests, *beside.sources):
            assert (ROOT / folder).is_dir(), folder
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
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compose.environment["COMPOSE_PROJECT_NAME"] = "tunnel"
    told = tmp_path / "told"
    step = suite.Step("it", ["sh", "-c", f'echo "$WINDTUNNEL_IMAGE-$COMPOSE_PROJECT_NAME" >{told}; exit 5'])

    assert step.run(compose) == 5
    assert told.read_text() == "tunnel-\n"


def test_test_images_are_built_with_the_machines_certificates(compose: Compose, docker: Docker) -> None:
    compose.environment["CA_BUNDLE"] = "/bundle"
    docker.answers("build", "done\n")

    suite.build_test_images(compose, lambda _: None)

    builds = [call for call in docker.calls if call.startswith("build")]
    assert [call.split("--target ")[1] for call in builds] == [
        "airflow-test --tag tunnel-airflow-test .",
        "localstack-test --tag tunnel-localstack-test .",
    ]
    assert all("--secret id=ca_bundle,src=/bundle" in call for call in builds)
