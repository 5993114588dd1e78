"""The project's own tests and checks, run with the packages that each part of the code is made for.

Code that runs beside Airflow or in LocalStack is tested and checked with their packages: in an image, with no
network, or in a venv of the local engine.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from windtunnel.stack import overlays
from windtunnel.stack.base import Stack
from windtunnel.stack.settings import ENGINE_SETTING, IMAGE_SETTING, ROOT

# The groups of tests, in the order in which they are run: the cheapest first.
FLOORS = ("unit", "stack", "compose", "e2e", "faults")

# The floor that is about one engine alone, which has the same name.
COMPOSE = "compose"


@dataclass(frozen=True)
class Beside:
    """A part of the stack whose packages code needs, to be tested and checked.

    :param name: of the image, and of the local engine's venv.
    :param tests: folders of unit tests that run in it.
    :param sources: further folders in which types are checked with it.
    :param python_path: besides the packages of the checkout.
    """

    name: str
    tests: Sequence[str]
    sources: Sequence[str]
    python_path: Sequence[str] = ()


BESIDE = (
    Beside(
        "airflow",
        ("tests/unit/custom", "tests/unit/dags"),
        ("custom", "dags", "tests/dags", "tests/plugins", "benchmarks/dags"),
    ),
    # These tests run functions for real, with the functions' Python.
    Beside("localstack", ("tests/unit/emulator",), ("emulator/src",), ("emulator/src",)),
)

# The tests that are run with an overlay of ours, too, by floor: what pytest takes after ``-m``.
_EXECUTOR = {"e2e": "executor or overlay", "faults": "overlay"}
_OTHER = {"e2e": "overlay"}
WITH_OVERLAYS: Mapping[str, Mapping[str, str]] = {
    "ecs": _EXECUTOR,
    "batch": _EXECUTOR,
    "lambda-executor": _EXECUTOR,
    "celery": _EXECUTOR,
    "ecs-ec2": _OTHER,
    "bundle": _OTHER,
    "docker": _OTHER,
}

SHELL_SCRIPTS = ("entrypoint.sh", "locks/compile", "examples/check", ".ci/run")

# Of the unit tests, which wait for processes most of their time.
WORKERS = 2 * (os.cpu_count() or 1)

# Words that tests and examples use as secrets; none of them is one.
NO_SECRETS = r"^(test|secret|hunter2|pw|p%40(ss)?|A[KS]IAIOSFODNN7EXAMPLE)$"


@dataclass(frozen=True)
class Step:
    """One command of a suite, and the name under which its outcome is reported.

    :param variables: on top of the stack's settings.
    """

    name: str
    command: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, stack: Stack) -> int:
        """Run it, with its output going to ours, and return its exit code."""
        # The images of this checkout serve every stack that a test starts.
        own = {ENGINE_SETTING: stack.engine, IMAGE_SETTING: stack.settings.image}
        variables = {**stack.command_variables, **own, **self.variables}
        # A test's stack has a name and ports of its own.
        variables.pop("COMPOSE_PROJECT_NAME", None)
        return subprocess.call(self.command, cwd=stack.root, env=variables)  # noqa: S603


def _step_beside(stack: Stack, beside: Beside, what: str, *arguments: str) -> Step:
    """Return a step with a part's Python and these arguments, in an image with no network."""
    command, variables = stack.test_command(beside.name, arguments, beside.python_path)
    return Step(f"{what}, in {beside.name}", command, variables)


def test_steps(stack: Stack, floor: str, arguments: Sequence[str], *, rare: bool) -> Iterator[Step]:
    """The pytest runs of one floor.

    :param arguments: go to each of them.
    :param rare: with the tests that take too long for every run; without arguments also with each overlay.
    """
    pytest = [sys.executable, "-m", "pytest", f"tests/{floor}"]
    if floor != "unit":
        yield Step(floor, [*pytest, *(["--all"] if rare else []), *arguments])
        if rare and not arguments:
            yield from _steps_with_overlays(stack, floor)
        return
    apart = [f"--ignore={path}" for beside in BESIDE for path in beside.tests]
    # A part of the tests covers a part of the code, which says nothing.
    coverage = [] if arguments else ["--cov", "--cov-report="]
    yield Step("unit", [*pytest, *apart, "-n", str(WORKERS), *coverage, *arguments])
    if coverage:
        least = f"{sys.executable} -m coverage report --sort=cover | sed -n '1,12p;$p'"
        yield Step("unit, coverage of src and lambdas", ["sh", "-c", least])
    for beside in BESIDE:
        options = ["-m", "pytest", "-p", "no:cacheprovider", *beside.tests, *arguments]
        yield _step_beside(stack, beside, "unit", *options)


def _steps_with_overlays(stack: Stack, floor: str) -> Iterator[Step]:
    for name, marks in WITH_OVERLAYS.items():
        with_it = replace(stack.settings, overlays=(overlays.known(ROOT)[name],))
        if floor in marks and not list(overlays.engine_findings(with_it, stack.engine)):
            options = ["--all", "--windtunnel-with", name, "-m", marks[floor]]
            yield Step(f"{floor}, with {name}", [sys.executable, "-m", "pytest", f"tests/{floor}", *options])


def check_steps(stack: Stack) -> Iterator[Step]:
    """Format, lint, shell scripts, secrets and types."""
    yield from quick_steps(stack)
    python = [sys.executable, "-m"]
    apart = "|".join(path for beside in BESIDE for path in (*beside.tests, *beside.sources))
    sources = ["src", "lambdas", "overlays", "benchmarks", "tests"]
    yield Step("mypy", [*python, "mypy", *sources, "--exclude", f"^({apart})/"])
    # A script without an ending is a module of its own, and has the package's name.
    yield Step("mypy, launcher", [*python, "mypy", "windtunnel"])
    for beside in BESIDE:
        options = ["-m", "mypy", *beside.sources, *beside.tests]
        yield _step_beside(stack, beside, "mypy", *options)


def quick_steps(stack: Stack) -> Iterator[Step]:
    """What is checked within seconds, with no package of Airflow or LocalStack."""
    python = [sys.executable, "-m"]
    yield Step("ruff format", [*python, "ruff", "format", "--check", "--output-format", "concise", "."])
    yield Step("ruff check", [*python, "ruff", "check", "--quiet", "--output-format", "concise", "."])
    shellcheck = str(Path(sys.executable).with_name("shellcheck"))
    yield Step("shellcheck", [shellcheck, "--external-sources", *shell_scripts(stack.root)])
    # Hashes of packages look like secrets.
    options = ["--no-verify", "--exclude-secrets", NO_SECRETS, "--exclude-files", r"^locks/.*\.txt$"]
    scan = shlex.join([*python, "detect_secrets.pre_commit_hook", *options])
    files = "git ls-files -z --cached --others --exclude-standard"
    yield Step("secrets", ["sh", "-c", f"{files} | xargs -0 {scan}"])


def shell_scripts(root: Path) -> list[str]:
    """The checkout's shell scripts."""
    offline = sorted(str(path.relative_to(root)) for path in (root / "offline").rglob("*.sh"))
    return [name for name in (*SHELL_SCRIPTS, *offline) if (root / name).exists()]
