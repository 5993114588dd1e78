"""The project's own tests and checks, run with the environments that each part of the code is made for.

What runs beside Airflow or in LocalStack is tested and checked with its own packages: in its image, with no
network, or in the local engine's environment.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from windtunnel.compose.stack import ComposeStack
from windtunnel.local.venvs import Venvs
from windtunnel.stack.base import Stack
from windtunnel.stack.choose import SETTING

# In the order in which they are run: the cheapest first.
FLOORS = ("unit", "stack", "e2e", "faults")


@dataclass(frozen=True)
class Beside:
    """An environment of the stack in which the code is tested that runs in it, and is of no use elsewhere."""

    # That of the image, and of the local engine's environment.
    name: str
    # Folders of unit tests that run in it.
    tests: Sequence[str]
    # What is checked for types in it, besides these.
    sources: Sequence[str]
    # The environment whose Python has what tests need; types always want its own.
    test_environment: str
    # Besides the packages of the checkout.
    python_path: Sequence[str]


ENVIRONMENTS = (
    Beside(
        "airflow",
        ("tests/unit/custom", "tests/unit/dags"),
        ("custom", "dags", "tests/dags", "benchmarks/dags"),
        test_environment="airflow",
        python_path=(),
    ),
    # These tests run functions for real and want the functions' Python; types want LocalStack's.
    Beside(
        "localstack",
        ("tests/unit/emulator",),
        ("emulator/src",),
        test_environment="lambda",
        python_path=("emulator/src",),
    ),
)

# Where an image has its environments.
IN_IMAGE = {"airflow": "/opt/venv", "localstack": "/opt/localstack", "lambda": "/opt/lambda"}

SHELL_SCRIPTS = ("entrypoint.sh", "locks/compile", "examples/check", ".ci/run")


@dataclass(frozen=True)
class Step:
    """One command of a suite, and the name under which its outcome is reported."""

    name: str
    command: Sequence[str]
    # On top of the stack's settings.
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, stack: Stack) -> int:
        """Run it with its output going to ours; its exit code."""
        environment = {**stack.environment, SETTING: stack.name, **self.environment}
        if isinstance(stack, ComposeStack):
            # The images of this checkout serve every stack that a test starts.
            environment["WINDTUNNEL_IMAGE"] = image_name(stack)
        # A test's stack has a name and ports of its own.
        environment.pop("COMPOSE_PROJECT_NAME", None)
        return subprocess.call(self.command, cwd=stack.root, env=environment)  # noqa: S603


def image_name(compose: ComposeStack) -> str:
    """What the names of this checkout's images begin with."""
    return compose.setting("WINDTUNNEL_IMAGE") or compose.project


def get_beside(stack: Stack, on_line: Callable[[str], None]) -> None:
    """Get pytest and mypy for the environments of the stack.

    :raises windtunnel.stack.base.StackError: when that fails.
    """
    if not isinstance(stack, ComposeStack):
        Venvs(stack).install_test_tools()
        return
    bundle = stack.setting("CA_BUNDLE") or os.devnull
    for beside in ENVIRONMENTS:
        stack.stream(
            "docker", "build", "--progress", "plain", "--secret", f"id=ca_bundle,src={bundle}",
            "--target", f"{beside.name}-test", "--tag", test_image(stack, beside), ".",
            what=f"building the image for tests in {beside.name}", on_line=on_line,
        )  # fmt: skip


def test_image(compose: ComposeStack, beside: Beside) -> str:
    """The image's name."""
    return f"{image_name(compose)}-{beside.name}-test"


def step_beside(stack: Stack, beside: Beside, what: str, environment: str, *arguments: str) -> Step:
    """A step with the Python of one of the stack's environments, with no network in an image.

    :param environment: its name.
    :param arguments: for that Python.
    """
    name = f"{what}, in {beside.name}"
    if not isinstance(stack, ComposeStack):
        venvs = Venvs(stack)
        path = [str(stack.root / folder) for folder in (*beside.python_path, "src")]
        command = [str(venvs.python(environment)), *arguments]
        return Step(name, command, venvs.for_tests([*path, str(venvs.test_tools)]))
    command = [
        "docker", "run", "--rm", "--init", "--network", "none", "--volume", f"{stack.root}:/checkout:ro",
        "--workdir", "/checkout", "--entrypoint", f"{IN_IMAGE[environment]}/bin/python",
        test_image(stack, beside), *arguments,
    ]  # fmt: skip
    return Step(name, command)


def test_steps(stack: Stack, floor: str, arguments: Sequence[str]) -> Iterator[Step]:
    """The pytest runs of one floor.

    :param arguments: go to each of them.
    """
    folder = f"tests/{floor}"
    pytest = [sys.executable, "-m", "pytest"]
    if floor != "unit":
        yield Step(floor, [*pytest, folder, *arguments])
        return
    apart = [f"--ignore={path}" for beside in ENVIRONMENTS for path in beside.tests]
    # A worker for each core: most of these tests wait for processes.
    yield Step("unit", [*pytest, folder, *apart, "-n", "auto", *arguments])
    for beside in ENVIRONMENTS:
        options = ["-m", "pytest", "-p", "no:cacheprovider", *beside.tests, *arguments]
        yield step_beside(stack, beside, "unit", beside.test_environment, *options)


def check_steps(stack: Stack) -> Iterator[Step]:
    """Format, lint, types and shell scripts."""
    python = [sys.executable, "-m"]
    yield Step("ruff format", [*python, "ruff", "format", "--check", "--output-format", "concise", "."])
    yield Step("ruff check", [*python, "ruff", "check", "--quiet", "--output-format", "concise", "."])
    apart = "|".join(path for beside in ENVIRONMENTS for path in (*beside.tests, *beside.sources))
    sources = ["src", "lambdas", "benchmarks", "tests"]
    yield Step("mypy", [*python, "mypy", *sources, "--exclude", f"^({apart})/"])
    # A script without an ending is a module of its own, and has the package's name.
    yield Step("mypy, launcher", [*python, "mypy", "windtunnel"])
    for beside in ENVIRONMENTS:
        cache = f"{stack.root}/.mypy_cache/{beside.name}" if stack.name == "local" else "/tmp/mypy"  # noqa: S108
        options = ["-m", "mypy", "--cache-dir", cache, *beside.sources, *beside.tests]
        yield step_beside(stack, beside, "mypy", beside.name, *options)
    shellcheck = str(Path(sys.executable).with_name("shellcheck"))
    yield Step("shellcheck", [shellcheck, "--external-sources", *shell_scripts(stack.root)])


def shell_scripts(root: Path) -> list[str]:
    """The checkout's shell scripts."""
    offline = sorted(str(path.relative_to(root)) for path in (root / "offline").rglob("*.sh"))
    return [name for name in (*SHELL_SCRIPTS, *offline) if (root / name).exists()]
