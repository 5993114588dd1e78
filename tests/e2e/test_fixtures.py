"""The plugin's fixtures that change the stack for one test, and that nothing of it stays."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from windtunnel.airflow_api.client import AirflowClient, UnknownDag
from windtunnel.airflow_api.lookups import Lookups
from windtunnel.diagnosis import evidence
from windtunnel.testing.function_stubs import FunctionError
from windtunnel.testing.runs import DagRun
from windtunnel.testing.stack import RunningStack

RunDag = Callable[..., DagRun]
FUNCTION = "test-plain"
# No scheduled DAG calls it.
STUBBED = "test-relayed"


def call(lambda_client: Any, name: str, event: Any = None) -> Any:
    """What a function answers."""
    return json.loads(lambda_client.invoke(FunctionName=name, Payload=json.dumps(event))["Payload"].read())


def settings(lambda_client: Any, name: str) -> dict[str, Any]:
    """What makes a function what it is, its code included."""
    none = {"Description": "", "Environment": {"Variables": {}}, "Layers": []}
    found = none | lambda_client.get_function_configuration(FunctionName=name)
    names = {*none, "CodeSha256", "Handler", "MemorySize", "Runtime", "Timeout"}
    return {key: value for key, value in found.items() if key in names}


@contextmanager
def nothing_changes(lambda_client: Any, name: str) -> Iterator[None]:
    """A function is afterwards what it was before."""
    before = settings(lambda_client, name)
    yield
    assert settings(lambda_client, name) == before


def test_a_stub_answers_and_knows_what_it_was_asked(
    run_dag: RunDag, windtunnel: RunningStack, lambda_client: Any
) -> None:
    with nothing_changes(lambda_client, STUBBED):
        with windtunnel.stub_function(STUBBED, {"lines": 3}) as stub:
            run = run_dag("test-once", {"function_name": STUBBED, "payloads": [{"do": "nothing"}]})

            assert run.state == "success", run
            (task,) = run.tasks
            assert task.xcom() == {"lines": 3}
            # As the DAG sent it: what the relay puts into an event is its own affair.
            assert stub.events == [{"do": "nothing"}]
            assert "a stub answers" in task.log()
        assert call(lambda_client, STUBBED, {"do": "nothing"}) != {"lines": 3}


def test_a_stub_fails_as_it_is_told(run_dag: RunDag, stub_function: Callable[..., Any]) -> None:
    stub_function(STUBBED, raises=ValueError("no text"))

    run = run_dag("test-once", {"function_name": STUBBED, "payloads": [{"do": "nothing"}]})

    assert run.state == "failed"
    assert "ValueError: no text" in run.tasks[0].log()


def test_a_function_that_is_not_there_has_no_stub(windtunnel: RunningStack) -> None:
    with (
        pytest.raises(FunctionError, match=r"no function no-such; there are .*airflow-test"),
        windtunnel.stub_function("no-such"),
    ):
        pass


def test_a_function_is_deployed_for_a_test(
    windtunnel: RunningStack, lambda_client: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "only_here"
    folder.mkdir()
    (folder / "lambda_function.py").write_text("def lambda_handler(event, context): return event['a'] + 1")

    with windtunnel.deploy_function(folder) as name:
        assert call(lambda_client, name, {"a": 1}) == 2

    assert name == "only-here"
    with pytest.raises(lambda_client.exceptions.ResourceNotFoundException):
        call(lambda_client, name)


def test_a_function_is_replaced_for_a_test(
    windtunnel: RunningStack, lambda_client: Any, tmp_path: Path
) -> None:
    (tmp_path / "other.py").write_text("import os\ndef main(event, context): return os.environ['MINE']")
    own = {
        "FunctionName": FUNCTION,
        "Handler": "other.main",
        "Timeout": 9,
        "Environment": {"Variables": {"MINE": "yes"}},
    }
    (tmp_path / "function.json").write_text(json.dumps(own))

    with nothing_changes(lambda_client, FUNCTION), windtunnel.deploy_function(tmp_path):
        assert call(lambda_client, FUNCTION) == "yes"


def looked_up(airflow: AirflowClient, name: str) -> tuple[Any, Any, Any]:
    """Host of a connection, value of a variable, slots of a pool; each None if there is none."""
    lookups = Lookups(airflow)
    connection, pool = lookups.connection(name), lookups.pool(name)
    return connection and connection["host"], lookups.variable(name), pool and pool.slots


def test_what_tasks_look_up_is_there_during_a_block(windtunnel: RunningStack, airflow: AirflowClient) -> None:
    def paused() -> list[bool]:
        return [dag.is_paused for dag in airflow.dags() if dag.dag_id == "test-once"]

    with (
        windtunnel.connection("for-one-test", "http", host="example.test"),
        windtunnel.variable("for-one-test", "a"),
        windtunnel.pool("for-one-test", 2),
        windtunnel.paused("test-once"),
    ):
        assert looked_up(airflow, "for-one-test") == ("example.test", "a", 2)
        assert paused() == [True]
        with (
            windtunnel.connection("for-one-test", "ftp", host="other.test"),
            windtunnel.variable("for-one-test", "b"),
            windtunnel.pool("for-one-test", 3),
            windtunnel.unpaused("test-once"),
        ):
            assert looked_up(airflow, "for-one-test") == ("other.test", "b", 3)
            assert paused() == [False]
        # As it was.
        assert looked_up(airflow, "for-one-test") == ("example.test", "a", 2)
        assert paused() == [True]

    assert looked_up(airflow, "for-one-test") == (None, None, None)
    assert paused() == [False]


def rows(metadata_db: Any, table: str) -> list[Any]:
    """All that a table has, secrets as they are stored."""
    with metadata_db.cursor() as cursor:
        cursor.execute(f"SELECT to_jsonb({table}) FROM {table} ORDER BY 1")  # noqa: S608
        return [row for (row,) in cursor.fetchall()]


def test_what_was_there_is_put_back_as_it_was(
    windtunnel: RunningStack, airflow: AirflowClient, metadata_db: Any
) -> None:
    with (
        # What the API shows differently, or not at all.
        windtunnel.variable("version", "3.10"),
        windtunnel.connection("with-password", "http", password="x", extra={"api_key": "y"}),  # noqa: S106
        # Longer than a command's argument may be, which is 128 KiB.
        windtunnel.variable("long", "x" * 200 * 1024),
    ):
        before = {table: rows(metadata_db, table) for table in ("connection", "variable", "slot_pool")}

        with (
            windtunnel.variable("version", "4"),
            windtunnel.variable("long", "short"),
            windtunnel.connection("with-password", "ftp"),
            windtunnel.connection("aws_default", "aws", host="other.test"),
            windtunnel.pool("default_pool", 1),
        ):
            lookups = Lookups(airflow)
            pool = lookups.pool("default_pool")
            assert (lookups.variable("version"), pool and pool.slots) == ("4", 1)
            assert lookups.connection("with-password") == {"conn_type": "ftp"}
            assert lookups.connection("aws_default") == {"conn_type": "aws", "host": "other.test"}

        assert {table: rows(metadata_db, table) for table in before} == before


def test_the_same_for_one_test(
    airflow: AirflowClient,
    set_connection: Callable[..., None],
    set_variable: Callable[..., None],
    set_pool: Callable[..., None],
) -> None:
    set_connection("for-the-test", "http", host="example.test")
    set_variable("for-the-test", {"a": 1})
    set_pool("for-the-test", 2)

    assert looked_up(airflow, "for-the-test") == ("example.test", '{"a": 1}', 2)


def test_and_not_for_the_next(airflow: AirflowClient) -> None:
    assert looked_up(airflow, "for-the-test") == (None, None, None)


@pytest.fixture
def paused_before(pause_dag: Callable[[str], None]) -> None:
    pause_dag("test-once")


@pytest.mark.usefixtures("paused_before")
def test_a_dag_is_unpaused_for_a_test(run_dag: RunDag, unpause_dag: Callable[[str], None]) -> None:
    unpause_dag("test-once")

    assert run_dag("test-once", {"payloads": [{"max_len": 0}]}).state == "success"


def test_a_misspelt_dag_is_told_by_those_that_there_are(run_dag: RunDag) -> None:
    with pytest.raises(UnknownDag, match=r"no DAG test-onec; there are: .*test-once"):
        run_dag("test-onec")


def test_the_failure_bundle_tells_all(run_dag: RunDag, windtunnel: RunningStack, tmp_path: Path) -> None:
    failed = run_dag("test-once", {"function_name": "no-such", "payloads": [{}]})

    lines = evidence.write(windtunnel, tmp_path / "bundle", windtunnel.runs[-1:])

    assert lines[0] == f"test-once {failed.run_id}:"
    bundle = {
        str(path.relative_to(tmp_path / "bundle")): path.read_text() for path in files(tmp_path / "bundle")
    }
    assert "missing.txt" not in bundle, bundle["missing.txt"]
    assert json.loads(bundle["versions.json"])["engine"] == windtunnel.stack.engine
    assert json.loads(bundle["health/airflow.json"])["metadatabase"] == {"status": "healthy"}
    assert any(
        "no-such" in text for name, text in bundle.items() if name.startswith("tasks/dag_id=test-once")
    )
    assert any(
        name.startswith("functions/aws_lambda_") and "START RequestId" in bundle[name] for name in bundle
    )
    assert "s3://airflow-lambda-logs, " in bundle["s3.txt"]
    for service in ("webserver", "scheduler", "localstack"):
        assert f"{service}: " in bundle["resources.txt"]
        assert bundle[f"services/{service}.log"]


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
