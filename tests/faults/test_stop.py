"""The end of every stack; by its name the last file of this floor, because it stops the stack for good."""

from tests.support import Stack

# Docker's own patience in seconds, after which it kills.
PATIENCE = "10"
# By its own end, or by the signal it was asked with.
IN_ORDER = {0, 128 + 15}
# Airflow insists on the end of its trigger process after 10 s, when Docker's patience is over as well.
# Nothing is lost by that: triggers are in the database.
MAY_BE_KILLED = {"triggerer"}


def test_every_service_stops_in_order_when_asked(stack: Stack) -> None:
    stack.compose.run("docker", "compose", "stop", "--timeout", PATIENCE, what="stopping the stack")

    codes = {service.name: service.exit_code for service in stack.compose.services()}
    killed = {name: code for name, code in codes.items() if code not in IN_ORDER}
    assert {name: code for name, code in killed.items() if name not in MAY_BE_KILLED} == {}
