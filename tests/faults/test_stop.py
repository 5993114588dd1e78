"""The end of every stack; by its name the last file of this floor, because it stops the stack for good."""

from tests.support import Stack

# Docker's own patience is 10 s, after which it kills.
PATIENCE = "10"
# By its own end, or by the signal it was asked with.
IN_ORDER = {0, 128 + 15}


def test_every_service_stops_in_order_when_asked(stack: Stack) -> None:
    stack.compose.run("docker", "compose", "stop", "--timeout", PATIENCE, what="stopping the stack")

    codes = {service.name: service.exit_code for service in stack.compose.services()}
    assert {name: code for name, code in codes.items() if code not in IN_ORDER} == {}
