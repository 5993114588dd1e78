"""A stack to break: one for all tests of this floor, whole again before each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Stack, cleaned_up, new_project, no_aws_settings_of_this_machine


@pytest.fixture(scope="session", autouse=True)
def _environment() -> Iterator[None]:
    with no_aws_settings_of_this_machine():
        yield


@pytest.fixture(scope="session")
def _started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    overlay = Path(__file__).with_name("overlay.yml")
    compose = new_project("faults", tmp_path_factory.mktemp("faults"), [overlay])
    with cleaned_up(compose) as evidence:
        compose.up()
        stack = Stack(compose, evidence)
        # Its runs would take slots from those that are watched here.
        stack.airflow.pause("demo-dag")
        yield stack


@pytest.fixture
def stack(_started: Stack) -> Stack:
    """The running stack, every service of it healthy."""
    for service in ("localstack", "webserver", "scheduler", "dag-processor", "triggerer"):
        _started.wait_for_health(service)
    return _started
