from typing import Any

import pytest

from windtunnel.stack import workers
from windtunnel.stack.workers import Workers

from ..conftest import problems


def configuration(*commands: Any) -> dict[str, Any]:
    services = {f"worker-{number}": {"command": command} for number, command in enumerate(commands)}
    return {"services": {"scheduler": {"command": "scheduler"}, "postgres": {}, **services}}


def test_what_a_service_serves_is_in_its_command() -> None:
    found = workers.workers(
        configuration(
            ["celery-worker", "--queues", "default, heavy", "--concurrency", "4"],
            "celery-worker --concurrency 1",
        ),
        {"worker-1": 0},
    )

    assert found == [
        Workers("worker-0", 1, ("default", "heavy"), "4"),
        Workers("worker-1", 0, ("default",), "1"),
    ]


@pytest.mark.bad_input(76)
@pytest.mark.parametrize("concurrency", ["0", "-1", "many", "1.5", "٣", ""])
def test_a_concurrency_that_is_no_number_of_slots_is_named(concurrency: str) -> None:
    command = ["celery-worker", "--queues", "default", "--concurrency", concurrency]

    (found,) = workers.findings(configuration(command), {})

    assert found.problem == f"the concurrency of worker-0 is {concurrency!r}"
    assert "WORKER_CONCURRENCY" in found.remedy


@pytest.mark.bad_input(76)
def test_a_worker_without_a_queue_is_named() -> None:
    command = ["celery-worker", "--queues", " , ", "--concurrency", "1"]

    assert problems(workers.findings(configuration(command), {})) == ["worker-0 serves no queue"]
