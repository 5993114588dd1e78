"""A stack to break: one for all tests of this floor, whole again before each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import StackUnderTest, cleaned_up, new_project, no_aws_settings_of_this_machine


@pytest.fixture(scope="session", autouse=True)
def _environment() -> Iterator[None]:
    with no_aws_settings_of_this_machine():
        yield


@pytest.fixture(scope="session")
def _started(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[StackUnderTest]:
    named = pytestconfig.getoption("windtunnel_with") or ()
    overlays = [Path(__file__).with_name("overlay.yml"), *named]
    folder = tmp_path_factory.mktemp("faults")
    # Of an executor's tasks ten are to be at work at once; those of Celery wait in the queue, too.
    more = {"PARALLELISM": "12"} if named else {}
    if "celery" in named:
        more = {"PARALLELISM": "", "WORKER_GRACE": "5s"}
    project = new_project("faults", folder, overlays, pytestconfig.getoption("windtunnel_engine"), **more)
    with cleaned_up(project) as evidence:
        project.up()
        stack = StackUnderTest(project, evidence)
        # Its runs would take slots from those that are watched here.
        stack.airflow.pause("demo-dag")
        yield stack


@pytest.fixture
def stack(_started: StackUnderTest) -> StackUnderTest:
    """The running stack, every service of it healthy."""
    for service in ("localstack", "webserver", "scheduler", "dag-processor", "triggerer"):
        _started.wait_for_health(service)
    return _started
