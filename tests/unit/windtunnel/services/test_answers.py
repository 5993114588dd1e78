import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from windtunnel.services import answers
from windtunnel.stack.settings import ROOT

from ..stand_ins.database import Database
from ..stand_ins.web_server import Server


@pytest.fixture(autouse=True)
def aws(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    for name, value in {
        "AWS_ENDPOINT_URL": server.address,
        "AWS_DEFAULT_REGION": "ap-southeast-2",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    server.answers("GET /", "<ListAllMyBucketsResult/>")
    server.answers("POST /2015-03-31/functions/good/invocations", "", status=204)
    return server


def test_a_function_that_can_be_reached() -> None:
    assert answers.aws("good") == {}


def test_a_function_that_cannot() -> None:
    unreachable = answers.aws("good", "gone")

    assert list(unreachable) == ["the function gone"]
    assert "404" in unreachable["the function gone"]


def test_no_localstack_at_all(aws: Server) -> None:
    aws.stop()

    assert list(answers.aws("good")) == ["LocalStack"]


def test_the_files_that_airflow_knows(database: Callable[..., Database]) -> None:
    asked = database([("package/two.py",), ("one.py",)]).asked

    assert answers.known_dag_files() == ["one.py", "package/two.py"]
    ((statement, _),) = asked
    # A file that cannot be imported is no file without a DAG.
    assert re.search(r"FROM dag\b.* UNION .*FROM import_error\b", statement)


def test_the_latest_runs_of_all_dags_are_one_question(database: Callable[..., Database]) -> None:
    asked = database([("one", "failed"), ("one", "success"), ("two", "running")]).asked

    assert answers.latest_runs("3") == {"one": ["failed", "success"], "two": ["running"]}
    ((_, parameters),) = asked
    assert tuple(parameters) == ("3",)


def test_what_airflow_has_of_releases(database: Callable[..., Database]) -> None:
    asked = database([("new",)]).asked

    # Each question has the same answer here.
    assert answers.releases("mine") == {
        "version": "new",
        "behind": ["new"],
        "files": ["new"],
        "runs": [["new"]],
    }
    assert {name for _, parameters in asked for name in parameters} == {"mine"}


def test_rows_change_their_names_in_one_transaction(database: Callable[..., Database]) -> None:
    asked = database([(1,)]).asked

    answers.rename("variable", "mine", "kept", "new", "mine")

    ((statement, parameters),) = asked
    step = "DELETE FROM variable WHERE key = %s;UPDATE variable SET key = %s WHERE key = %s;"
    assert statement.startswith(step * 2)
    assert parameters == ("kept", "kept", "mine", "mine", "mine", "new")


# As it is run


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """That of one of Airflow's services."""
    (tmp_path / "postgres_password").write_text("pw")
    (tmp_path / "simple_auth_manager_passwords.json").write_text('{"admin": "secret"}')
    return {
        "SECRETS_FOLDER": str(tmp_path),
        "POSTGRES_ADDRESS": "127.0.0.1:1",
        "PYTHONPATH": str(ROOT / "src"),
    }


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("login", ["admin", "secret"]),
        ("database", "postgresql://airflow:pw@127.0.0.1:1/airflow"),
        ("aws", None),
    ],
)
def test_it_answers_in_json(environment: dict[str, str], aws: Server, question: str, answer: object) -> None:
    of_aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    command = [sys.executable, "-m", "windtunnel.services.answers", question]

    said = subprocess.check_output(command, env=environment | of_aws, text=True)

    assert json.loads(said) == ({} if question == "aws" else answer)


@pytest.mark.parametrize(
    ("running", "waiting"), [(1, 0), (2, 3)], ids=["with a slot that is free", "without a free slot"]
)
def test_tasks_wait_for_a_slot_once_all_are_taken(
    database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch, running: int, waiting: int
) -> None:
    monkeypatch.setenv("PARALLELISM", "2")
    holders = [("running", "dag.sensor", 1.5)] * running
    database([*holders, ("queued", "dag.next", None), *[("scheduled", "dag.next", None)] * 2])

    assert answers.held_up() == {
        "slots": 2,
        "waiting": waiting,
        "holders": [["dag.sensor", 1.5]] * running if waiting else [],
    }


def test_queues_of_celery_in_which_tasks_wait(database: Callable[..., Database]) -> None:
    asked = database([("default", 2, ["dag.one", "dag.other"])]).asked

    assert answers.queued() == [["default", 2, ["dag.one", "dag.other"]]]
    ((_, parameters),) = asked
    assert tuple(parameters) == ("%celery%",)
