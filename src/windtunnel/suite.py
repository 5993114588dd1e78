"""The project's own tests and checks, run with the environments that each part of the code is made for.

What runs beside Airflow or in LocalStack is tested and checked in its image, with no network.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from windtunnel.compose import Compose

# In the order in which they are run: the cheapest first.
FLOORS = ("unit", "stack", "e2e", "faults")


@dataclass(frozen=True)
class Beside:
    """An image in which the code is tested that runs in it, and is of no use elsewhere."""

    image: str
    # Folders of unit tests that run in it.
    tests: Sequence[str]
    # What is checked for types in it, besides these.
    sources: Sequence[str]
    # The Pythons that have what tests, and what types, need.
    test_python: str = "python"
    type_python: str = "python"


IMAGES = (
    Beside(
        "airflow",
        ("tests/unit/custom", "tests/unit/dags"),
        ("custom", "dags", "tests/dags", "benchmarks/dags"),
    ),
    # These tests run functions for real and want the functions' Python; types want LocalStack's.
    Beside("localstack", ("tests/unit/emulator",), ("emulator/src",), test_python="/opt/lambda/bin/python"),
)

SHELL_SCRIPTS = ("entrypoint.sh", "locks/compile", ".ci/run")


@dataclass(frozen=True)
class Step:
    """One command of a suite, and the name under which its outcome is reported."""

    name: str
    command: Sequence[str]

    def run(self, compose: Compose) -> int:
        """Run it with its output going to ours; its exit code."""
        environment = {
            **compose.environment,
            # The images of this checkout serve every stack that a test starts.
            "WINDTUNNEL_IMAGE": image_name(compose),
        }
        # A test's stack has a name and ports of its own.
        environment.pop("COMPOSE_PROJECT_NAME", None)
        return subprocess.call(self.command, cwd=compose.root, env=environment)  # noqa: S603


def image_name(compose: Compose) -> str:
    """What the names of this checkout's images begin with."""
    return compose.setting("WINDTUNNEL_IMAGE") or compose.project


def build_test_images(compose: Compose, on_line: Callable[[str], None]) -> None:
    """Build the images with pytest and mypy, on top of those of the stack.

    :raises windtunnel.compose.ComposeError: when that fails.
    """
    bundle = compose.setting("CA_BUNDLE") or os.devnull
    for beside in IMAGES:
        compose.stream(
            "docker", "build", "--progress", "plain", "--secret", f"id=ca_bundle,src={bundle}",
            "--target", f"{beside.image}-test", "--tag", test_image(compose, beside), ".",
            what=f"building the image for tests in {beside.image}", on_line=on_line,
        )  # fmt: skip


def test_image(compose: Compose, beside: Beside) -> str:
    """The image's name."""
    return f"{image_name(compose)}-{beside.image}-test"


def inside(compose: Compose, beside: Beside, python: str, *arguments: str) -> list[str]:
    """A command line for a Python of an image, with the checkout to read and no network."""
    return [
        "docker", "run", "--rm", "--init", "--network", "none", "--volume", f"{compose.root}:/checkout:ro",
        "--workdir", "/checkout", "--entrypoint", python, test_image(compose, beside), *arguments,
    ]  # fmt: skip


def test_steps(compose: Compose, floor: str, arguments: Sequence[str]) -> Iterator[Step]:
    """The pytest runs of one floor.

    :param arguments: go to each of them.
    """
    folder = f"tests/{floor}"
    pytest = [sys.executable, "-m", "pytest"]
    if floor != "unit":
        yield Step(floor, [*pytest, folder, *arguments])
        return
    apart = [f"--ignore={path}" for beside in IMAGES for path in beside.tests]
    yield Step("unit", [*pytest, folder, *apart, *arguments])
    for beside in IMAGES:
        options = ["-m", "pytest", "-p", "no:cacheprovider", *beside.tests, *arguments]
        yield Step(f"unit, in {beside.image}", inside(compose, beside, beside.test_python, *options))


def check_steps(compose: Compose) -> Iterator[Step]:
    """Format, lint, types and shell scripts."""
    python = [sys.executable, "-m"]
    yield Step("ruff format", [*python, "ruff", "format", "--check", "--output-format", "concise", "."])
    yield Step("ruff check", [*python, "ruff", "check", "--quiet", "--output-format", "concise", "."])
    apart = "|".join(path for beside in IMAGES for path in (*beside.tests, *beside.sources))
    sources = ["src", "lambdas", "benchmarks", "tests"]
    yield Step("mypy", [*python, "mypy", *sources, "--exclude", f"^({apart})/"])
    # A script without an ending is a module of its own, and has the package's name.
    yield Step("mypy, launcher", [*python, "mypy", "windtunnel"])
    for beside in IMAGES:
        options = ["-m", "mypy", "--cache-dir", "/tmp/mypy", *beside.sources, *beside.tests]  # noqa: S108
        yield Step(f"mypy, in {beside.image}", inside(compose, beside, beside.type_python, *options))
    shellcheck = str(Path(sys.executable).with_name("shellcheck"))
    yield Step("shellcheck", [shellcheck, "--external-sources", *shell_scripts(compose.root)])


def shell_scripts(root: Path) -> list[str]:
    """The checkout's shell scripts."""
    offline = sorted(str(path.relative_to(root)) for path in (root / "offline").rglob("*.sh"))
    return [name for name in (*SHELL_SCRIPTS, *offline) if (root / name).exists()]
