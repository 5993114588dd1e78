"""What a function needs is there when it is deployed: packages of its requirements.txt, and layers."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import StackUnderTest
from windtunnel.diagnosis import doctor, evidence
from windtunnel.seeding import functions
from windtunnel.stack.errors import StackError
from windtunnel.testing.stack import RunningStack
from windtunnel.waiting import wait_until

# An installation asks the package index of this machine.
INSTALLED = 60.0

# Seconds that a corrected file, whose packages are there, may take to be Active.
CORRECTED = 3.0

VERSION = """
import {module}

def lambda_handler(event, context):
    return {module}.__version__
"""

# The newest of its line, with its hashes, as `pip-compile --generate-hashes` writes them.
HASHED = """six==1.17.0 \\
    --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274 \\
    --hash=sha256:ff70335d468e7eb6ec65b95b99d3a2836546063f63acc5171de367e834932a81
"""


class Folder:
    """The folder with all functions, in which files are saved and functions called."""

    def __init__(self, stack: StackUnderTest, client: Any, save: Callable[[Path, str], None]) -> None:
        self.path = stack.lambdas
        self.client = client
        self._save = save
        self._made: set[Path] = set()
        self.said = partial(stack.health, "localstack")

    def save(self, file: str, content: str) -> None:
        path = self.path / file
        self._made.add(self.path / path.relative_to(self.path).parts[0])
        for parent in (path.parent, path.parent.parent):
            parent.mkdir(exist_ok=True, parents=True)
            parent.chmod(0o755)
        self._save(path, content)

    def function(self, name: str, source: str, **settings: Any) -> None:
        self.save(f"{name}/function.json", json.dumps(settings))
        self.save(f"{name}/lambda_function.py", source)

    def answers(self, name: str, answer: object) -> None:
        wait_until(f"{name} to answer {answer!r}", lambda: self.ask(name) == answer, timeout=INSTALLED)

    def ask(self, name: str) -> object:
        try:
            return json.loads(self.client.invoke(FunctionName=name)["Payload"].read())
        except (
            self.client.exceptions.ResourceNotFoundException,
            self.client.exceptions.ResourceConflictException,
        ):
            return None

    def active(self) -> None:
        wait_until("LocalStack to be healthy", lambda: self.said() == "", timeout=INSTALLED)

    def remove(self) -> None:
        for path in self._made:
            shutil.rmtree(path, ignore_errors=True)
        self.active()


@pytest.fixture
def folder(
    airflow_stack: StackUnderTest, lambda_client: Any, save: Callable[[Path, str], None]
) -> Iterator[Folder]:
    made = Folder(airflow_stack, lambda_client, save)
    yield made
    made.remove()


def deploy(windtunnel: RunningStack, name: str) -> list[str]:
    """What `./windtunnel deploy` says."""
    lines: list[str] = []
    command = ("python", "-m", "windtunnel.seeding", name)
    windtunnel.stack.run_in(
        "localstack", *command, on_line=lines.append, what="deploying", next_step="Correct the file."
    )
    return lines


def test_what_a_function_requires_is_installed_and_then_kept(
    windtunnel: RunningStack, folder: Folder
) -> None:
    folder.save("test_requires/requirements.txt", "requests\n")
    folder.function("test_requires", "import requests\ndef lambda_handler(event, context):\n    return 1\n")

    lines = deploy(windtunnel, "test_requires")

    assert folder.ask("test-requires") == 1, lines
    began = time.monotonic()
    lines = deploy(windtunnel, "test_requires")
    assert lines[-1].endswith("function test-requires is up to date")
    assert not [line for line in lines if "installing" in line]
    assert time.monotonic() - began < 5


def test_hashes_are_checked(folder: Folder) -> None:
    folder.save("test_hashed/requirements.txt", HASHED)
    folder.function("test_hashed", VERSION.format(module="six"))
    folder.answers("test-hashed", "1.17.0")

    folder.save(
        "test_hashed/requirements.txt", HASHED.replace("sha256:4", "sha256:5").replace("sha256:f", "sha256:e")
    )
    wait_until(
        "the wrong hash to be named", lambda: "requirements.txt, line 1" in folder.said(), timeout=INSTALLED
    )
    assert "ash" in folder.said()
    assert folder.ask("test-hashed") == "1.17.0"


def test_a_typo_is_named_while_all_others_and_the_last_version_go_on(
    windtunnel: RunningStack, folder: Folder, tmp_path: Path
) -> None:
    folder.save("test_typo/requirements.txt", "six==1.17.0\n")
    folder.function("test_typo", VERSION.format(module="six"))
    folder.answers("test-typo", "1.17.0")

    folder.save("test_typo/requirements.txt", "# a comment\nsix-there-is-no-such-package==1.17.0\n")
    place = "lambdas/test_typo/requirements.txt, line 2: "
    wait_until("the typo to be named", lambda: place in folder.said(), timeout=INSTALLED)
    with pytest.raises(StackError) as raised:
        deploy(windtunnel, "test_typo")
    assert place in raised.value.output
    assert "six-there-is-no-such-package" in raised.value.output
    assert folder.ask("test-typo") == "1.17.0"
    # What a failed test would show, and what doctor finds.
    assert any(place in line for line in evidence.write(windtunnel, tmp_path / "bundle"))
    assert any(place in finding.problem for finding in doctor.not_deployed(windtunnel.stack))

    folder.function("test_other", "def lambda_handler(event, context): return 'other'")
    folder.answers("test-other", "other")

    began = time.monotonic()
    folder.save("test_typo/requirements.txt", "six==1.17.0\n")
    folder.active()
    assert time.monotonic() - began < CORRECTED
    assert folder.ask("test-typo") == "1.17.0"


def test_layers_are_published_shared_and_again_after_an_edit(
    windtunnel: RunningStack, folder: Folder, lambda_client: Any, airflow_stack: StackUnderTest
) -> None:
    folder.save("layers/own/python/mine.py", "__version__ = 'first'\n")
    folder.save("layers/bought/requirements.txt", "six==1.17.0\n")
    both = {"Layers": ["own", "bought"]}
    folder.function("test_layered", VERSION.format(module="mine"), **both)
    folder.function("test_sharing", VERSION.format(module="six"), **both)

    folder.answers("test-layered", "first")
    folder.answers("test-sharing", "1.17.0")
    arns = [
        [layer["Arn"] for layer in lambda_client.get_function_configuration(FunctionName=name)["Layers"]]
        for name in ("test-layered", "test-sharing")
    ]
    assert arns[0] == arns[1]
    assert [arn.split(":")[6:] for arn in arns[0]] == [["own", "1"], ["bought", "1"]]
    windtunnel.wait_for_saved_files()
    assert lambda_client.list_layer_versions(LayerName="bought")["LayerVersions"][1:] == []

    folder.save("layers/own/python/mine.py", "__version__ = 'second'\n")
    folder.answers("test-layered", "second")
    folder.answers("test-sharing", "1.17.0")

    # Whoever names the version that is on AWS gets the folder, too.
    arn = "arn:aws:lambda:eu-west-1:123456789012:layer:own:17"
    folder.save("test_layered/function.json", json.dumps({"Layers": [arn]}))
    wait_until(
        "one layer",
        lambda: len(lambda_client.get_function_configuration(FunctionName="test-layered")["Layers"]) == 1,
        timeout=INSTALLED,
    )
    folder.answers("test-layered", "second")

    shutil.rmtree(airflow_stack.lambdas / functions.LAYERS / "bought")
    named = "lambdas/test_sharing/function.json, Layers: there is no layer bought: make the folder"
    folder.save("test_sharing/lambda_function.py", VERSION.format(module="mine"))
    wait_until("the layer that is gone to be named", lambda: named in folder.said(), timeout=INSTALLED)
    assert folder.ask("test-sharing") == "1.17.0"


def test_a_function_of_a_test_gets_what_it_requires(
    windtunnel: RunningStack, folder: Folder, tmp_path: Path
) -> None:
    folder.save("layers/own/python/mine.py", "__version__ = 'first'\n")
    source = tmp_path / "test_own"
    source.mkdir()
    (source / "requirements.txt").write_text("six==1.17.0\n")
    (source / "function.json").write_text('{"Layers": ["own"]}')
    (source / "lambda_function.py").write_text(
        "import mine, six\ndef lambda_handler(event, context): return [mine.__version__, six.__version__]\n"
    )

    with windtunnel.deploy_function(source) as name:
        assert folder.ask(name) == ["first", "1.17.0"]
