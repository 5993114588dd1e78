"""Airflow's own services and its database die and come back: no run stays where it was."""

from collections.abc import Mapping
from functools import partial

from tests.run_logs import Try, in_api, invocations
from tests.support import StackUnderTest
from windtunnel.airflow_api.client import AirflowApiError
from windtunnel.waiting import wait_until

# Not the demo's: its first run may be on its way, and calls are counted here.
FUNCTION = "test-talkative"
QUICK = {"lines": 1}
# Some seconds: time enough to break something meanwhile.
SLOW = {"lines": 12, "seconds": 6}


def start(stack: StackUnderTest, dag_id: str, *payloads: Mapping[str, object]) -> Try:
    """Start a run and wait until its function is at work."""
    airflow = stack.airflow
    run = airflow.trigger(dag_id, {"function_name": FUNCTION, "payloads": list(payloads)})
    this = Try(run.dag_id, run.dag_run_id, "invoke")
    lines = partial(in_api, airflow, this, FUNCTION)
    wait_until("the function's first line", lines, timeout=30, retry_on=(AirflowApiError,))
    return this


def finish(stack: StackUnderTest, this: Try, timeout: float) -> str:
    """Wait for the end of a run; its state."""
    return str(stack.airflow.wait(stack.airflow.run(this.dag_id, this.run_id), timeout).state.value)


def can_run(stack: StackUnderTest) -> bool:
    run = stack.airflow.trigger("test-once", {"function_name": FUNCTION, "payloads": [QUICK]})
    return bool(stack.airflow.wait(run, timeout=60).state == "success")


def test_a_killed_scheduler_takes_its_tasks_up_again(stack: StackUnderTest) -> None:
    """The task dies with it; its second try succeeds, and each try has called the function once."""
    before = invocations(stack.aws("logs"), FUNCTION)
    first = start(stack, "test-retried", SLOW, QUICK)

    stack.kill("scheduler")
    stack.start("scheduler")

    assert finish(stack, first, timeout=120) == "success"
    (task,) = stack.airflow.task_instances(stack.airflow.run(first.dag_id, first.run_id))
    assert task.try_number == 2
    # A call's own log is there once it has ended: the first one may take longer than the second try.
    calls = partial(invocations, stack.aws("logs"), FUNCTION)
    wait_until("the logs of both calls", lambda: calls() >= before + 2, timeout=30)
    assert calls() == before + 2


def test_a_running_task_outlives_the_web_server(stack: StackUnderTest) -> None:
    this = start(stack, "test-once", SLOW)

    stack.kill("webserver")
    stack.start("webserver")
    stack.wait_for_health("webserver")

    assert finish(stack, this, timeout=60) == "success"
    assert len(in_api(stack.airflow, this, FUNCTION)) == SLOW["lines"]


def test_after_a_restart_of_the_database_runs_go_on(stack: StackUnderTest) -> None:
    stack.restart("postgres")

    for service in ("scheduler", "dag-processor", "triggerer"):
        stack.wait_for_health(service)
    assert can_run(stack)


def test_a_dead_dag_processor_is_reported_and_harms_no_run(stack: StackUnderTest) -> None:
    stack.kill("dag-processor")

    states = {service.name: (service.state, service.ready) for service in stack.stack.services()}
    assert states["dag-processor"] == ("exited", False)
    wait_until(
        "Airflow's health to say that the dag-processor is unhealthy",
        lambda: getattr(stack.airflow.health().dag_processor, "status", "") == "unhealthy",
        timeout=30,
    )
    assert can_run(stack)

    (stack.dags / "saved_meanwhile.py").write_text(
        'from airflow.sdk import DAG\n\nsaved = DAG(dag_id="test-saved-meanwhile", schedule=None)\n'
    )
    stack.start("dag-processor")
    wait_until(
        "the DAG that was saved meanwhile",
        lambda: any(dag.dag_id == "test-saved-meanwhile" for dag in stack.airflow.dags()),
        timeout=30,
    )
