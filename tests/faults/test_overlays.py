"""A user's own overlay, with a service that has replicas, on a stack that runs."""

from tests.support import StackUnderTest
from windtunnel.diagnosis import status


def test_replicas_of_an_overlays_service_are_services_like_all_others(stack: StackUnderTest) -> None:
    running = stack.stack

    found = {service.label: service.summary for service in running.services() if service.name == "echo"}

    assert found == {"echo-1": "healthy", "echo-2": "healthy"}
    assert running.logs("echo").count("ready: hello") == 2
    assert running.exec("echo", "sh", "-c", "echo $GREETING") == "hello\n"
    assert {"echo-1", "echo-2"} <= set(running.memory())
    report = status.Report.of(running)
    assert "overlay.yml" in report.laid_over
