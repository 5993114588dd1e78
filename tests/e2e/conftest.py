"""One stack for all tests of this floor, started when the first test asks for it."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from airflow_client.client.models.dag_run_response import DAGRunResponse

from tests.support import (
    CHROMIUM_FLAGS,
    EVIDENCE,
    StackUnderTest,
    chromium,
    leftovers,
    no_aws_settings_of_this_machine,
    settings,
)
from tests.visitor import Visitor
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.stack.base import Stack
from windtunnel.testing.stack import RunningStack

STARTED = pytest.StashKey[Stack]()


@pytest.fixture(scope="session", autouse=True)
def _environment() -> Iterator[None]:
    with no_aws_settings_of_this_machine():
        yield


@pytest.fixture(scope="session")
def windtunnel_settings(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Mapping[str, str]:
    """Our own DAGs and functions with those of the tests, as copies that a test may edit."""
    # With these, the scheduler's slots are also for what waits elsewhere.
    overlays = pytestconfig.getoption("windtunnel_with") or ()
    more = {"PARALLELISM": ""} if {"celery", "ecs-ec2"}.intersection(overlays) else {}
    return settings(tmp_path_factory.mktemp("e2e")) | more


@pytest.fixture(scope="session")
def airflow_stack(windtunnel: RunningStack, pytestconfig: pytest.Config) -> StackUnderTest:
    """The running stack, seen from below: its processes, its secrets, its database."""
    pytestconfig.stash[STARTED] = windtunnel.stack
    return StackUnderTest(windtunnel.stack, EVIDENCE / windtunnel.stack.project)


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Fail if the stack has left something behind."""
    yield
    stack = session.config.stash.get(STARTED, None)
    if stack and not session.config.getoption("windtunnel_reuse"):
        left = leftovers(stack)
        assert not left, f"{stack.project} leaves behind: {', '.join(left)}"


@pytest.fixture
def save(airflow_stack: StackUnderTest) -> Callable[[Path, str], None]:
    """Saves a file as editors do: the new content is there at once, and the containers' users may read it."""

    def write(path: Path, content: str) -> None:
        path.parent.mkdir(exist_ok=True, parents=True)
        path.parent.chmod(0o755)
        unsaved = path.with_name(f".{path.name}~")
        unsaved.write_text(content)
        unsaved.chmod(0o644)
        unsaved.rename(path)

    return write


@pytest.fixture(scope="session")
def airflow(windtunnel: RunningStack) -> AirflowClient:
    """Airflow's API, as the administrator."""
    return windtunnel.airflow


@pytest.fixture
def admin(airflow_stack: StackUnderTest) -> Visitor:
    """The administrator before the web page."""
    return Visitor.admin(airflow_stack)


# The configuration of a run of each example DAG that every stack has.
EXAMPLES: dict[str, dict[str, Any]] = {
    "example-lambda": {"max_len": 1, "interval": 0},
    "example-lambda-deferrable": {"max_len": 2},
    "example-lambda-mapped": {},
}


# Function and payload of the runs that tests of functions look at.
FUNCTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "timeout": ("test-relayed", {"do": "sleep over the timeout"}),
    "exit": ("test-relayed", {"do": "end the process"}),
    "nothing": ("test-relayed", {"do": "nothing"}),
    "plain": ("test-plain", {"one": 1}),
    "unknown": ("no-such-function", {}),
}


# Both are started before the first test, as they take long.


@pytest.fixture(scope="session", autouse=True)
def example_runs(request: pytest.FixtureRequest) -> dict[str, DAGRunResponse]:
    """A run of each example: 20 tasks."""
    if not _is_run(request, "test_examples.py"):
        return {}
    airflow: AirflowClient = request.getfixturevalue("airflow")
    return {dag_id: airflow.trigger(dag_id, conf) for dag_id, conf in EXAMPLES.items()}


@pytest.fixture(scope="session", autouse=True)
def function_runs(request: pytest.FixtureRequest) -> dict[str, DAGRunResponse]:
    """A run of each function that does not end well, or does not know of the relay."""
    if not _is_run(request, "test_functions.py"):
        return {}
    airflow: AirflowClient = request.getfixturevalue("airflow")
    return {
        name: airflow.trigger("test-once", {"function_name": function, "payloads": [payload]})
        for name, (function, payload) in FUNCTIONS.items()
    }


@pytest.fixture(scope="session", autouse=True)
def _chromium_in_memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """Read the browser from disk while other tests run: up to 16 s, which its own test need not wait for."""
    program = chromium() if _is_run(request, "test_web_page.py") else None
    if program is None:
        yield
        return
    command = [program, "--headless", *CHROMIUM_FLAGS, "--dump-dom", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield
        process.kill()


# How many messages start a run of example-sqs-message each.
MESSAGES = 20


@pytest.fixture(scope="session", autouse=True)
def sent_messages(request: pytest.FixtureRequest) -> list[str]:
    """Messages for example-sqs-message: one while it is paused, the others once it is not."""
    if not _is_run(request, "test_messages.py"):
        return []
    stack: StackUnderTest = request.getfixturevalue("airflow_stack")
    bodies = [f"message {number}" for number in range(MESSAGES)]
    sqs = stack.aws("sqs")
    queue = sqs.get_queue_url(QueueName="example-messages")["QueueUrl"]
    for number, body in enumerate(bodies):
        sqs.send_message(QueueUrl=queue, MessageBody=body)
        if number == 0:
            stack.airflow.unpause("example-sqs-message")
    return bodies


def _is_run(request: pytest.FixtureRequest, file: str) -> bool:
    return any(item.path.name == file for item in request.session.items)


@pytest.fixture(scope="session")
def lambda_client(aws_client: Callable[[str], Any]) -> Any:
    return aws_client("lambda")


@pytest.fixture(scope="session")
def logs_client(aws_client: Callable[[str], Any]) -> Any:
    return aws_client("logs")


@pytest.fixture(scope="session")
def s3_client(aws_client: Callable[[str], Any]) -> Any:
    return aws_client("s3")


@pytest.fixture(scope="session")
def metadata_db(airflow_stack: StackUnderTest) -> Iterator[Any]:
    """A connection to Airflow's metadata database."""
    connection = airflow_stack.connect()
    yield connection
    connection.close()
