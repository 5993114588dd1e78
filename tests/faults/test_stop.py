"""The end of every stack; by its name the last file of this floor, because it stops the stack for good."""

import re

from tests.support import StackUnderTest
from windtunnel.local.stack import ProcessStack

# Docker's own patience in seconds, after which it kills; the local engine's is the compose file's.
PATIENCE = "10"
# By its own end, or by the signal it was asked with.
IN_ORDER = {0, 128 + 15}
# Airflow insists on the end of its trigger process after 10 s, when Docker's patience is over as well.
# Nothing is lost by that: triggers are in the database.
MAY_BE_KILLED = {"triggerer"}


def test_every_service_stops_in_order_when_asked(stack: StackUnderTest) -> None:
    project = stack.stack
    if isinstance(project, ProcessStack):
        project.supervisor.calls.stopAllProcesses()
        log = (project.layout.run / "supervisord.log").read_text()
        asked = set(re.findall(r"stopped: (\S+) \(", log))
        assert asked >= {service.label for service in project.services() if not service.one_shot}
        # Since the stop: what tests of this floor have killed stands before it.
        killed = set(re.findall(r"WARN killing '(\S+)'", log))
    else:
        project.run("docker", "compose", "stop", "--timeout", PATIENCE, what="stopping the stack")
        killed = {service.name for service in project.services() if service.exit_code not in IN_ORDER}

    assert killed - MAY_BE_KILLED == set()
