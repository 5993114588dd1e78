"""The GitHub action, the example's workflow and the page on CI fit each other, and the action's scripts work.

GitHub is played by a few lines here, and so are the commands that would need a network or a Docker Engine.
"""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from windtunnel.local.stack import ProcessStack
from windtunnel.local.venvs import FINGERPRINT, Venvs
from windtunnel.pytest_plugin.session import Session
from windtunnel.stack.settings import ROOT, Settings

ACTION_FILE = ROOT / "action.yml"
WORKFLOW_FILE = ROOT / "examples" / "hourly_summary" / ".github" / "workflows" / "tests.yml"
PAGE = ROOT / "docs" / "ci.md"
WINDTUNNEL = "OWNER/windtunnel"

ACTION: dict[str, Any] = yaml.safe_load(ACTION_FILE.read_text())
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
SCRIPTS = {step["name"]: step for step in STEPS if "run" in step}


def code(language: str) -> list[str]:
    """The page's blocks of code."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


GITHUB_SNIPPET, GITLAB = map(yaml.safe_load, code("yaml"))
WORKFLOW = yaml.safe_load(WORKFLOW_FILE.read_text())
USES: list[dict[str, Any]] = [
    step
    for steps in (STEPS, GITHUB_SNIPPET["steps"], *(job["steps"] for job in WORKFLOW["jobs"].values()))
    for step in steps
    if "uses" in step
]
GITLAB_SCRIPT = "\n".join([*GITLAB[".windtunnel"]["before_script"], *GITLAB[".windtunnel"]["script"]])


# What is written


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ("vendor.github-actions", ACTION_FILE.read_text()),
        ("vendor.github-workflows", WORKFLOW_FILE.read_text()),
        ("vendor.gitlab-ci", code("yaml")[1]),
    ],
    ids=["action", "workflow", "gitlab"],
)
def test_what_github_and_gitlab_would_refuse_is_not_in_it(schema: str, text: str, tmp_path: Path) -> None:
    """By the schemas that https://www.schemastore.org has of them."""
    file = tmp_path / "file.yml"
    file.write_text(text)

    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("step", STEPS, ids=[step["name"] for step in STEPS])
def test_an_input_never_becomes_part_of_a_script(step: dict[str, Any]) -> None:
    assert "${{" not in step.get("run", "")


def test_every_input_is_used_and_none_that_is_not_there() -> None:
    used = set(re.findall(r"\binputs\.([\w-]+)", ACTION_FILE.read_text()))

    assert used == ACTION["inputs"].keys()


def test_every_output_of_a_step_is_one() -> None:
    """Of our own scripts; of GitHub's actions we use but one."""
    known = {("cache", "cache-hit")}
    for place, step in enumerate(STEPS):
        for name, output in re.findall(r"\bsteps\.(\w+)\.outputs\.([\w-]+)", yaml.safe_dump(step)):
            (earlier,) = [other for other in STEPS[:place] if other.get("id") == name]
            assert (name, output) in known or f'"{output}=' in earlier["run"], (step["name"], name, output)
        for name in re.findall(r"\bsteps\.(\w+)\.outcome", yaml.safe_dump(step)):
            assert name in {other.get("id") for other in STEPS[:place]}, (step["name"], name)


def test_every_action_has_a_version() -> None:
    assert USES
    for step in USES:
        action, _, version = step["uses"].partition("@")
        assert re.fullmatch(r"main" if action == WINDTUNNEL else r"v\d+", version), step["uses"]


def test_each_action_is_of_one_version() -> None:
    versions = {tuple(step["uses"].replace("/restore", "").replace("/save", "").split("@")) for step in USES}

    assert len(versions) == len({action for action, _ in versions}), sorted(versions)


def test_the_examples_give_inputs_that_there_are() -> None:
    given = [set(step.get("with", {})) for step in USES if step["uses"].startswith(WINDTUNNEL)]

    assert len(given) == 2
    for names in given:
        assert names <= ACTION["inputs"].keys()


def test_a_run_of_the_example_can_read_only_and_ends() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    for job in WORKFLOW["jobs"].values():
        assert job["timeout-minutes"] <= 30
        # Two artifacts of one name are refused, so each job of the matrix has its own.
        named = [
            given
            for step in job["steps"]
            for name, given in step.get("with", {}).items()
            if name.endswith("name")
        ]
        assert named
        assert all("${{ matrix.engine }}" in given for given in named)


def test_the_page_has_the_inputs_of_the_action() -> None:
    _, found, below = PAGE.read_text().partition("| input | default | |\n| --- | --- | --- |\n")
    assert found

    assert below.partition("\n\n")[0].splitlines() == [
        f"| `{name}` | {f'`{default}` ' if (default := given['default']) else ''}| {given['description']} |"
        for name, given in ACTION["inputs"].items()
    ]


@pytest.mark.parametrize("path", [ACTION_FILE, WORKFLOW_FILE, PAGE], ids=lambda path: path.name)
def test_options_are_those_of_the_plugin(path: Path, pytestconfig: pytest.Config) -> None:
    for option in re.findall(r"--(windtunnel-[a-z-]+)", path.read_text()):
        assert hasattr(pytestconfig.option, option.replace("-", "_")), option


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", PAGE.read_text()):
        assert (PAGE.parent / link).is_file(), link


SHELL = {
    **{name: ("bash", step["run"]) for name, step in SCRIPTS.items()},
    "GitLab": ("sh", GITLAB_SCRIPT),
    "any other CI": ("sh", *code("sh")),
}


@pytest.mark.parametrize("name", SHELL)
def test_shellcheck_finds_nothing(name: str) -> None:
    shell, text = SHELL[name]
    shellcheck = Path(sys.executable).with_name("shellcheck")
    answer = subprocess.run(
        [shellcheck, "--shell", shell, "-"], input=text, capture_output=True, text=True, check=False
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_ends_at_its_first_failure(name: str) -> None:
    assert SCRIPTS[name]["shell"] == "bash"
    assert SCRIPTS[name]["run"].startswith("set -euo pipefail\n")


# What it does


class Job:
    """A job on GitHub, as far as the action's scripts see it."""

    def __init__(self, folder: Path) -> None:
        """Make the folders that GitHub makes.

        :param folder: an empty one.
        """
        self.action = folder / "action"
        self.workspace = folder / "workspace"
        self.temp = folder / "temp"
        self._commands = folder / "commands"
        self._calls = folder / "calls"
        self._outputs = folder / "outputs"
        for path in (self.action, self.workspace, self.temp, self._commands):
            path.mkdir()
        for name in ("Dockerfile", "docker-compose.yml", "requirements.txt"):
            shutil.copy(ROOT / name, self.action)
        for name in ("locks", "emulator"):
            shutil.copytree(
                ROOT / name, self.action / name, ignore=shutil.ignore_patterns(".*", "__pycache__")
            )
        self.stand_in(self._commands / "python", f'exec {sys.executable} "$@"')

    def stand_in(self, path: Path, script: str = "") -> None:
        """Put a command there that notes its arguments, and what of the environment matters to it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        noted = '"${0##*/}" "$@" "COMPOSE_FILE=${COMPOSE_FILE:-}" "PYTEST_ADDOPTS=${PYTEST_ADDOPTS:-}"'
        path.write_text(f"#!/usr/bin/env bash\nprintf '%s\\0' {noted} >>{self._calls}\n{script}\n")
        path.chmod(0o755)

    def command(self, name: str, script: str = "") -> None:
        """Put such a command where the shell looks for it."""
        self.stand_in(self._commands / name, script)

    @property
    def calls(self) -> list[str]:
        """All words of all calls of such commands, in order."""
        return self._calls.read_text().split("\0")[:-1] if self._calls.exists() else []

    def run(self, name: str, **values: str) -> subprocess.CompletedProcess[str]:
        """Run a step's script.

        :param values: what the step's expressions come to, by the names of the environment variables.
        """
        step = SCRIPTS[name]
        assert values.keys() == step.get("env", {}).keys()
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-c", step["run"]],
            cwd=self.workspace,
            env={
                "PATH": f"{self._commands}:{os.environ['PATH']}",
                "GITHUB_ACTION_PATH": str(self.action),
                "GITHUB_OUTPUT": str(self._outputs),
                "RUNNER_TEMP": str(self.temp),
                "RUNNER_OS": "Linux",
                "RUNNER_ARCH": "X64",
                **values,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def outputs(self, name: str, **values: str) -> dict[str, str]:
        """Run a step's script, which has to succeed; its outputs."""
        self._outputs.write_text("")
        answer = self.run(name, **values)
        assert answer.returncode == 0, answer.stderr
        return dict(line.split("=", 1) for line in self._outputs.read_text().splitlines())


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


KEY, INSTALL, PYTEST, PACK = SCRIPTS


def append(path: Path, text: str = "\n# changed\n") -> None:
    path.write_text((path.read_text() if path.exists() else "") + text)


def another_python(job: Job) -> None:
    elsewhere = 'import sys; sys.base_prefix = "/elsewhere"'
    job.command("python", f"""exec {sys.executable} -c '{elsewhere}'$'\\n'"$2\"""")


def another_requirements_file(job: Job) -> None:
    append(job.workspace / "pyproject.toml", '[tool.windtunnel]\nrequirements = "dags.txt"\n')
    append(job.workspace / "dags.txt", "pandas\n")


CHANGES: dict[str, Callable[[Job], None]] = {
    "a lock": lambda job: append(job.action / "locks" / "airflow.txt"),
    "the emulator": lambda job: append(job.action / "emulator" / "pyproject.toml"),
    "the Dockerfile": lambda job: append(job.action / "Dockerfile"),
    "the requirements": lambda job: append(job.workspace / "requirements.txt"),
    "the requirements by another name": another_requirements_file,
    "the Python": another_python,
    "the path": lambda job: setattr(job, "workspace", job.workspace.rename(job.workspace.with_name("other"))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_cache_is_another_when_what_it_is_made_from_changes(job: Job, change: str) -> None:
    before = job.outputs(KEY, ENGINE="compose")
    CHANGES[change](job)

    assert job.outputs(KEY, ENGINE="compose")["key"] != before["key"]


def test_a_cache_is_the_same_when_nothing_of_it_changes(job: Job) -> None:
    append(job.workspace / "requirements.txt", "pandas\n")
    before = job.outputs(KEY, ENGINE="local")
    append(job.workspace / "conftest.py")
    append(job.action / "README.md")

    assert job.outputs(KEY, ENGINE="local") == before
    assert before["path"] == f"{job.workspace}/.windtunnel/venvs"
    assert re.fullmatch(r"windtunnel-local-Linux-X64-[0-9a-f]{64}", before["key"])


def test_an_engine_that_there_is_not_is_named(job: Job) -> None:
    answer = job.run(KEY, ENGINE="podman")

    assert answer.returncode == 1
    assert answer.stdout == "::error::engine is 'podman'; there are: local, compose\n"


@pytest.mark.parametrize(
    ("given", "arguments"), [("", []), ("my tests.txt", ["--requirement", "my tests.txt"])]
)
def test_windtunnel_comes_from_the_action_itself(job: Job, given: str, arguments: list[str]) -> None:
    environment = job.temp / "windtunnel"
    job.stand_in(environment / "bin" / "pip")
    job.command("python")

    assert job.run(INSTALL, TEST_REQUIREMENTS=given).returncode == 0

    unset = ["COMPOSE_FILE=", "PYTEST_ADDOPTS="]
    assert job.calls == [
        *["python", "-m", "venv", str(environment), *unset],
        *["pip", "install", "--quiet", str(job.action), "pytest", *arguments, *unset],
    ]


def run_pytest(job: Job, engine: str, cache_hit: str, arguments: str = "") -> int:
    job.stand_in(job.temp / "windtunnel" / "bin" / "pytest", "exit 3")
    job.command("docker")
    answer = job.run(
        PYTEST, ENGINE=engine, PYTEST_ARGS=arguments, JUNIT_XML="out/my junit.xml",
        CACHE_PATH="images.tar", CACHE_HIT=cache_hit,
    )  # fmt: skip
    return answer.returncode


def test_pytest_gets_its_arguments_and_nothing_in_them_is_run(job: Job) -> None:
    arguments = '-n 4 -k "a or b" $(touch touched) `touch touched`; touch touched'

    assert run_pytest(job, "local", "true", arguments) == 3

    given = ["--rootdir", ".", "--windtunnel-engine", "local", "--junit-xml", "out/my junit.xml"]
    assert job.calls == ["pytest", *given, "COMPOSE_FILE=", f"PYTEST_ADDOPTS= {arguments}"]
    assert not list(job.workspace.iterdir())


def test_images_of_the_cache_are_loaded_and_not_built(job: Job) -> None:
    run_pytest(job, "compose", "true")

    files = ["docker-compose.yml", "offline/no-build.yml"]
    assert job.calls[:5] == ["docker", "load", "--quiet", "--input", "images.tar"]
    assert f"COMPOSE_FILE={':'.join(files)}" in job.calls[job.calls.index("pytest") :]
    assert all((ROOT / file).is_file() for file in files)


def test_without_a_cache_images_are_built(job: Job) -> None:
    run_pytest(job, "compose", "")

    assert job.calls[0] == "pytest"
    assert "COMPOSE_FILE=" in job.calls


def test_environments_are_kept_once_all_are_complete(job: Job) -> None:
    venvs = Venvs(ProcessStack(Settings.of("test", root=ROOT, state_folder=job.temp / "state")))
    names = venvs.missing()

    assert names
    for name in names:
        (venvs.folder / name).mkdir(parents=True)
        (venvs.folder / name / FINGERPRINT).touch()
    assert job.outputs(PACK, ENGINE="local", CACHE_PATH=str(venvs.folder)) == {"complete": "true"}
    for name in names:
        fingerprint = venvs.folder / name / FINGERPRINT
        fingerprint.unlink()
        assert job.outputs(PACK, ENGINE="local", CACHE_PATH=str(venvs.folder)) == {}, name
        fingerprint.touch()


def test_images_are_kept_with_those_that_they_need(job: Job) -> None:
    built = ["pytest-1-airflow:latest", "pytest-1-localstack:latest"]
    job.command("docker", f'[ "$1" = save ] || printf "%s\\n" {" ".join(built)}')

    assert job.outputs(PACK, ENGINE="compose", CACHE_PATH="images.tar") == {"complete": "true"}

    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values()
    pulled = {service["image"] for service in services if "$" not in service["image"]}
    pulled |= set(re.findall(r"^FROM (\S+:\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    save = job.calls[job.calls.index("save") : -2]
    assert save[:3] == ["save", "--output", "images.tar"]
    assert sorted(save[3:]) == sorted({*built, *pulled})


def test_images_are_not_kept_where_none_were_built(job: Job) -> None:
    job.command("docker")

    assert job.outputs(PACK, ENGINE="compose", CACHE_PATH="images.tar") == {}
    assert "save" not in job.calls


def test_images_are_looked_for_by_the_names_that_the_plugin_gives_them(tmp_path: Path) -> None:
    (pattern,) = re.findall(r"'reference=(\S+)'", SCRIPTS[PACK]["run"])
    config = SimpleNamespace(rootpath=tmp_path, getoption=lambda _: None)
    prefix = Session(cast(Any, config)).kept_project

    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values()
    for image in {service["image"] for service in services if "build" in service}:
        name = re.sub(r"^\$\{WINDTUNNEL_IMAGE:-.*?\}\}", prefix, image)
        assert fnmatch.fnmatchcase(name, pattern), name
