"""`down` and `up` again: services stop in order, and what is kept is as it was, on both engines."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.run_logs import Try, in_api, in_s3, s3_object
from tests.support import StackUnderTest
from windtunnel.airflow_api.client import AirflowApiError
from windtunnel.local.stack import ProcessStack
from windtunnel.waiting import wait_until

FUNCTION = "airflow-test"
CONF = {"payloads": [{"max_len": 3, "interval": 0, "fails_at": None}]}
# Some seconds: time enough to stop the stack meanwhile.
SLOW = {"payloads": [{"max_len": 8, "interval": 0.5, "fails_at": None}]}

# Seconds, after which Docker kills; the local engine's patience is that of the compose files.
PATIENCE = "60"
# By its own end, or by the signal it was asked with.
IN_ORDER = {0, 128 + 15}
# Airflow insists on the end of its trigger process after 10 s, when the local engine's patience is over, too.
# Nothing is lost by that: triggers are in the database.
MAY_BE_KILLED = {"triggerer"}


@pytest.fixture
def finished(stack: StackUnderTest) -> Try:
    """A run whose log is in S3."""
    run = stack.airflow.wait(stack.airflow.trigger("test-once", CONF), timeout=60)
    assert run.state == "success"
    return Try(run.dag_id, run.dag_run_id, "invoke")


@pytest.fixture
def at_work(stack: StackUnderTest) -> Try:
    """A run whose task is in the middle of its work."""
    run = stack.airflow.trigger("test-once", SLOW)
    this = Try(run.dag_id, run.dag_run_id, "invoke")
    wait_until(
        "the function's first line",
        lambda: in_api(stack.airflow, this, FUNCTION),
        timeout=30,
        retry_on=(AirflowApiError,),
    )
    return this


@pytest.fixture
def broken_dag(stack: StackUnderTest) -> Iterator[Path]:
    """A DAG file of which the database has an import error."""
    path = stack.dags / "broken.py"
    path.write_text("from airflow.sdk import DAG\nimport no_such_module\n")
    wait_until("the import error", stack.airflow.import_errors, timeout=20)
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def started_again(stack: StackUnderTest) -> Iterator[None]:
    """Other tests need the stack, even if a test fails while it is stopped."""
    yield
    stack.stack.up()


def stopped_by_force(stack: StackUnderTest) -> set[str]:
    """Ask every service to stop; those that had to be killed."""
    project = stack.stack
    if isinstance(project, ProcessStack):
        # Other tests of this floor may have killed services before.
        before = len(project.supervisor.log_file.read_text())
        project.stop()
        log = project.supervisor.log_file.read_text()[before:]
        asked = set(re.findall(r"stopped: (\S+) \(", log))
        assert asked >= {service.label for service in project.services() if not service.one_shot}
        return set(re.findall(r"WARN killing '(\S+)'", log))
    project.run("docker", "compose", "stop", "--timeout", PATIENCE, what="stopping the stack")
    return {service.name for service in project.services() if service.exit_code not in IN_ORDER}


@pytest.mark.usefixtures("started_again")
def test_services_stop_in_order_tasks_end_and_after_up_all_is_as_it_was(
    stack: StackUnderTest, finished: Try, broken_dag: Path, at_work: Try
) -> None:
    """The error of a DAG file that is gone is not."""
    before = s3_object(stack.aws("s3"), finished)
    login = stack.stack.login()

    assert stopped_by_force(stack) - MAY_BE_KILLED == set()
    stack.stack.down()
    broken_dag.unlink()
    stack.stack.up()

    assert stack.airflow.import_errors() == []
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

    # The scheduler has waited for its task, which had all it needs until it ended.
    run = stack.airflow.wait(stack.airflow.run(at_work.dag_id, at_work.run_id), timeout=60)
    assert run.state == "success"
    (task,) = stack.airflow.task_instances(run)
    assert task.try_number == 1
    lines = in_s3(s3_object(stack.aws("s3"), at_work)["Body"], FUNCTION)
    assert len(lines) == SLOW["payloads"][0]["max_len"]
