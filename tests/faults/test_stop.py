"""The end of every stack: services stop in order when they are asked."""

import re
from collections.abc import Iterator

import pytest

from tests.support import StackUnderTest
from windtunnel.local.stack import ProcessStack

# Docker's own patience in seconds, after which it kills; the local engine's is the compose file's.
PATIENCE = "10"
# By its own end, or by the signal it was asked with.
IN_ORDER = {0, 128 + 15}
# Airflow insists on the end of its trigger process after 10 s, when Docker's patience is over as well.
# Nothing is lost by that: triggers are in the database.
MAY_BE_KILLED = {"triggerer"}


@pytest.fixture
def started_again(stack: StackUnderTest) -> Iterator[None]:
    """Other tests need the stack that this test stops."""
    yield
    stack.stack.up()


@pytest.mark.usefixtures("started_again")
def test_every_service_stops_in_order_when_asked(stack: StackUnderTest) -> None:
    project = stack.stack
    if isinstance(project, ProcessStack):
        # Other tests of this floor may have killed services before.
        before = len(project.supervisor.log_file.read_text())
        project.supervisor.calls.stopAllProcesses()
        log = project.supervisor.log_file.read_text()[before:]
        asked = set(re.findall(r"stopped: (\S+) \(", log))
        assert asked >= {service.label for service in project.services() if not service.one_shot}
        killed = set(re.findall(r"WARN killing '(\S+)'", log))
    else:
        project.run("docker", "compose", "stop", "--timeout", PATIENCE, what="stopping the stack")
        killed = {service.name for service in project.services() if service.exit_code not in IN_ORDER}

    assert killed - MAY_BE_KILLED == set()
