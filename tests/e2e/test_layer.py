"""The commands of the pages for authors, as they stand there: packaging, and settings."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_relay import contract
from tests.decoded import decode_lines
from tests.support import REGION
from windtunnel.seeding.packaging import package
from windtunnel.stack.settings import ROOT

# As they are in the pages.
FUNCTION = "my-function"
LAYER = "airflow-relay"
GROUP = "/airflow/lambda/my-function"
LINE = "in the Airflow task log half a second later"
FUNCTION_PAGE = "function-authors.md"
DAG_PAGE = "dag-authors.md"

# The commands know of no endpoint: that is in the environment, as for the real command line.
AWS = """aws() { "$PYTHON" "$STAND_IN" "$@"; }\n"""

Run = Callable[[str, str], None]


def block(page: str, heading: str, language: str) -> str:
    """The first code block of a language below a heading of a page."""
    text = (ROOT / "docs" / page).read_text()
    _, found, below = text.partition(f"# {heading}\n")
    assert found, f"{page} has no heading {heading!r}"
    match = re.search(rf"^```{language}\n(.*?)^```$", below, re.DOTALL | re.MULTILINE)
    assert match, f"{page} has no {language} below {heading!r}"
    return match[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout as the commands find it, with a folder for a function: the page's first example."""
    shutil.copytree(ROOT / "lambdas" / "airflow_relay", tmp_path / "lambdas" / "airflow_relay")
    function = tmp_path / "my_function"
    function.mkdir()
    (function / "lambda_function.py").write_text(
        block(FUNCTION_PAGE, "The decorator `relay`, for function authors", "python")
    )
    return tmp_path


@pytest.fixture
def run(checkout: Path, lambda_client: Any) -> Run:
    """Run the commands below a heading."""
    temporary = checkout / "tmp"
    temporary.mkdir()
    environment = {
        **os.environ,
        "TMPDIR": str(temporary),
        "AWS_ENDPOINT_URL": lambda_client.meta.endpoint_url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "PYTHON": sys.executable,
        "STAND_IN": str(Path(__file__).with_name("aws_stand_in.py")),
    }

    def run_block(page: str, heading: str) -> None:
        commands = ["sh", "-euc", AWS + block(page, heading, "sh")]
        done = subprocess.run(
            commands, cwd=checkout, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    return run_block


@pytest.fixture
def function(checkout: Path, lambda_client: Any, logs_client: Any) -> Iterator[str]:
    """The function, deployed without the library; afterwards nothing is left of it."""
    remove(lambda_client, logs_client)
    lambda_client.create_function(
        FunctionName=FUNCTION,
        Role="arn:aws:iam::000000000000:role/my-function",
        # The one that there is.
        Runtime=lambda_client.get_function_configuration(FunctionName="airflow-test")["Runtime"],
        Handler="lambda_function.lambda_handler",
        Timeout=10,
        Code={"ZipFile": package([checkout / "my_function"])},
    )
    wait_for(lambda_client, "function_active_v2")
    yield FUNCTION
    remove(lambda_client, logs_client)


def remove(lambda_client: Any, logs_client: Any) -> None:
    with suppress(lambda_client.exceptions.ResourceNotFoundException):
        lambda_client.delete_function(FunctionName=FUNCTION)
    for version in lambda_client.list_layer_versions(LayerName=LAYER)["LayerVersions"]:
        lambda_client.delete_layer_version(LayerName=LAYER, VersionNumber=version["Version"])
    for group in (GROUP, f"/aws/lambda/{FUNCTION}"):
        with suppress(logs_client.exceptions.ResourceNotFoundException):
            logs_client.delete_log_group(logGroupName=group)


def wait_for(lambda_client: Any, waiter: str) -> None:
    lambda_client.get_waiter(waiter).wait(
        FunctionName=FUNCTION, WaiterConfig={"Delay": 0.1, "MaxAttempts": 150}
    )


def invoke(lambda_client: Any, stream: str) -> tuple[Any, str]:
    """Invoke as the operator does; the result, and the tail of the function's own log."""
    payload = contract.Destination(GROUP, stream).as_payload()
    answer = lambda_client.invoke(FunctionName=FUNCTION, Payload=json.dumps(payload), LogType="Tail")
    return json.loads(answer["Payload"].read()), base64.b64decode(answer["LogResult"]).decode()


@pytest.mark.parametrize("heading", ["As a layer", "In the function's own zip"])
def test_a_function_packaged_by_the_page_is_relayed(
    function: str, run: Run, lambda_client: Any, logs_client: Any, heading: str
) -> None:
    error, _ = invoke(lambda_client, "before")
    assert error["errorType"] == "Runtime.ImportModuleError", "the function has the library already"

    run(FUNCTION_PAGE, heading)
    wait_for(lambda_client, "function_updated_v2")
    stream = uuid.uuid4().hex
    result, own_log = invoke(lambda_client, stream)

    assert result == {"answer": 42}, own_log
    events = logs_client.get_log_events(logGroupName=GROUP, logStreamName=stream, startFromHead=True)
    messages = [event["message"] for event in events["events"]]
    assert decode_lines(messages) == [LINE]
    end = contract.decode(messages[-1])
    assert isinstance(end, contract.EndMarker)
    assert (end.status, end.events) == (contract.SUCCEEDED, 1)


def test_the_library_is_the_only_thing_in_the_layer(function: str, run: Run, checkout: Path) -> None:
    (checkout / "lambdas" / "airflow_relay" / "__pycache__").mkdir(exist_ok=True)
    (checkout / "lambdas" / "airflow_relay" / "__pycache__" / "old.pyc").touch()

    run(FUNCTION_PAGE, "As a layer")

    (built,) = (checkout / "tmp").glob("*/layer.zip")
    listed = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(built)], capture_output=True, text=True, check=True
    ).stdout
    files = {line.split()[0] for line in listed.splitlines()[1:] if not line.split()[0].endswith("/")}
    assert files == {
        f"python/airflow_relay/{path.name}" for path in (ROOT / "lambdas" / "airflow_relay").glob("*.py")
    }


def test_events_are_delivered_once_and_expire(function: str, run: Run, lambda_client: Any) -> None:
    with pytest.raises(ClientError):
        lambda_client.get_function_event_invoke_config(FunctionName=function)

    run(DAG_PAGE, "Events come more than once")

    config = lambda_client.get_function_event_invoke_config(FunctionName=function)
    assert (config["MaximumRetryAttempts"], config["MaximumEventAgeInSeconds"]) == (0, 60)


def test_the_log_group_has_a_retention(function: str, run: Run, logs_client: Any) -> None:
    run(FUNCTION_PAGE, "The log group")

    (group,) = logs_client.describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"]
    assert (group["logGroupName"], group["retentionInDays"]) == (GROUP, 30)
