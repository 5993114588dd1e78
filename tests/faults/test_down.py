"""`down` and `up` again: what is kept is as it was, on both engines."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.run_logs import Try, in_s3, s3_object
from tests.support import StackUnderTest
from windtunnel.waiting import wait_until

FUNCTION = "airflow-test"
CONF = {"payloads": [{"max_len": 3, "interval": 0, "fails_at": None}]}


@pytest.fixture
def finished(stack: StackUnderTest) -> Try:
    """A run whose log is in S3."""
    run = stack.airflow.wait(stack.airflow.trigger("test-once", CONF), timeout=60)
    assert run.state == "success"
    return Try(run.dag_id, run.dag_run_id, "invoke")


@pytest.fixture
def broken_dag(stack: StackUnderTest) -> Iterator[Path]:
    """A DAG file of which the database has an import error."""
    path = stack.dags / "broken.py"
    path.write_text("from airflow.sdk import DAG\nimport no_such_module\n")
    wait_until("the import error", stack.airflow.import_errors, timeout=20)
    yield path
    path.unlink(missing_ok=True)


def test_runs_and_their_logs_in_s3_are_there_after_down_and_up_and_no_error_of_a_file_that_is_gone(
    stack: StackUnderTest, finished: Try, broken_dag: Path
) -> None:
    before = s3_object(stack.aws("s3"), finished)
    login = stack.stack.login()

    stack.stack.down()
    broken_dag.unlink()
    stack.stack.up()

    run = stack.airflow.run(finished.dag_id, finished.run_id)
    assert run.state == "success"
    after = s3_object(stack.aws("s3"), finished)
    for part in ("Body", "ETag", "LastModified", "ServerSideEncryption"):
        assert after[part] == before[part], part
    assert [line.text for line in in_s3(after["Body"], FUNCTION)] == [
        f"step {step} of 3" for step in range(3)
    ]
    log = stack.airflow.task_log(run, finished.task_id)
    assert any(source.startswith("s3://") for source in log.sources), log.sources
    assert stack.stack.login() == login
