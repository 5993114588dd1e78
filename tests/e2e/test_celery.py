"""Workers of Celery, their queues, and what is in a queue that is no task."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.executor_runs import starts
from windtunnel.airflow_api.client import AirflowApiError, AirflowClient
from windtunnel.airflow_api.task_log import TaskLog
from windtunnel.diagnosis import held_up
from windtunnel.stack.base import Stack
from windtunnel.testing.stack import RunningStack
from windtunnel.waiting import wait_until

pytestmark = pytest.mark.overlay("celery")


@pytest.fixture(scope="module")
def sqs(aws_client: Callable[[str], Any]) -> Any:
    return aws_client("sqs")


@pytest.fixture
def scaled(windtunnel: RunningStack) -> Iterator[Callable[..., Stack]]:
    """Set how many workers there are; afterwards there are as many as before."""

    def scale(**replicas: int) -> Stack:
        wanted = {name.replace("_", "-"): number for name, number in replicas.items()}
        stack = windtunnel.stack.scaled(wanted)
        stack.up(only=wanted)
        return stack

    yield scale
    windtunnel.stack.up(only=["worker", "heavy-worker"])


def url(sqs: Any, stack: Stack, queue: str) -> str:
    return str(sqs.get_queue_url(QueueName=f"{stack.project}-{queue}")["QueueUrl"])


def numbers(sqs: Any, address: str) -> tuple[int, int]:
    """How many messages of a queue wait, and how many are at work."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=address, AttributeNames=names)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def test_two_workers_share_the_tasks_and_leave_no_message(
    airflow: AirflowClient, windtunnel: RunningStack, scaled: Any, sqs: Any, s3_client: Any
) -> None:
    scaled(worker=2)

    run = airflow.wait(airflow.trigger("test-celery-shares"), timeout=180)

    assert run.state == "success", "\n".join(airflow.failures(run))
    who = {airflow.xcom(run, "work", map_index=number) for number in range(16)}
    assert len(who) == 2
    assert starts(s3_client, run.dag_run_id) == sorted(map(str, range(16)))
    queue = url(sqs, windtunnel.stack, "default")
    wait_until("the queue to be empty", lambda: numbers(sqs, queue) == (0, 0), timeout=30)
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout"])["Attributes"]
    assert attributes == {"VisibilityTimeout": "60"}


@pytest.mark.parametrize(
    ("tasks", "seconds"), [(24, 4), pytest.param(50, 10, marks=pytest.mark.rare)], ids=["24", "50"]
)
def test_workers_that_go_finish_their_tasks_and_give_back_the_others(
    airflow: AirflowClient,
    windtunnel: RunningStack,
    scaled: Any,
    sqs: Any,
    s3_client: Any,
    tasks: int,
    seconds: int,
) -> None:
    scaled(worker=3)
    run = airflow.trigger("test-celery-shares", {"tasks": tasks, "seconds": seconds})
    begun = partial(starts, s3_client, run.dag_run_id)
    wait_until("three workers to be at work", lambda: len(begun()) > 8, timeout=60)

    scaled(worker=1)

    # Soon what is at work is the only worker's. What the others had fetched is shown again within 5 s; what
    # they had lost would be after 60 s.
    queue = url(sqs, windtunnel.stack, "default")
    wait_until("the others' messages to be back", lambda: numbers(sqs, queue)[1] <= 4, timeout=15)
    ended = airflow.wait(run, timeout=240)
    assert ended.state == "success", "\n".join(airflow.failures(ended))
    assert begun() == sorted(map(str, range(tasks)))
    assert {task.try_number for task in airflow.task_instances(run)} == {1}


def test_results_are_in_postgres_under_the_id_of_the_message(
    airflow: AirflowClient, metadata_db: Any
) -> None:
    run = airflow.wait(airflow.trigger("test-executor"), timeout=120)

    query = (
        "SELECT ti.task_id, result.status FROM task_instance ti LEFT JOIN celery_taskmeta result"
        " ON result.task_id = ti.external_executor_id WHERE ti.run_id = %s"
    )
    with metadata_db.cursor() as cursor:
        cursor.execute(query, (run.dag_run_id,))
        found = dict(cursor.fetchall())
    # One of its tasks asks for the scheduler's own executor.
    assert found.pop("elsewhere") is None
    assert set(found.values()) == {"SUCCESS"}


def test_a_running_tasks_log_is_on_the_page(airflow: AirflowClient) -> None:
    run = airflow.trigger("test-celery-shares", {"tasks": 1, "seconds": 20})

    def of_the_running_task() -> TaskLog | None:
        log = airflow.task_log(run, "work", map_index=0)
        (task,) = [one for one in airflow.task_instances(run) if one.task_id == "work"]
        return log if task.state == "running" and log.records else None

    what = "the log of a running task"
    log = wait_until(what, of_the_running_task, timeout=60, retry_on=(AirflowApiError,))
    assert not [source for source in log.sources if "Could not read" in source]
    assert airflow.wait(run, timeout=60).state == "success"


def test_a_queue_of_its_own_waits_for_a_worker_of_its_own(
    airflow: AirflowClient, windtunnel: RunningStack, scaled: Any
) -> None:
    run, example = airflow.trigger("test-celery-heavy"), airflow.trigger("example-celery", {"tasks": 3})
    names = "example-celery.add_up, test-celery-heavy.heavy"
    problem = f"2 tasks wait in the queue heavy, which no worker serves: {names}"
    wait_until(
        "both tasks to wait",
        lambda: [found.problem for found in held_up.findings(windtunnel.stack)] == [problem],
        timeout=60,
    )

    stack = scaled(heavy_worker=1)

    assert airflow.wait(run, timeout=60).state == "success"
    assert airflow.xcom(airflow.wait(example, timeout=60), "add_up") == 0 + 1 + 4
    assert held_up.findings(stack) == []
    if stack.engine == "local":
        assert airflow.xcom(run, "heavy").endswith("heavy-worker-1")


def test_a_file_in_the_shared_folder_is_there_for_every_task(
    airflow: AirflowClient, windtunnel: RunningStack, scaled: Any
) -> None:
    scaled(heavy_worker=1)
    run, example = airflow.trigger("test-celery-shared-folder"), airflow.trigger("example-shared-folder")

    ended, shown = airflow.wait(run, timeout=120), airflow.wait(example, timeout=120)

    assert ended.state == "success", "\n".join(airflow.failures(ended))
    said = [airflow.xcom(run, name) for name in ("begin", "go_on", "end")]
    assert [text for _, text in said] == ["worker,", "worker,heavy,", "worker,heavy,local"]
    assert len({who for who, _ in said}) == 3
    assert shown.state == "success", "\n".join(airflow.failures(shown))
    assert airflow.xcom(example, "add_up") == sum(number**2 for number in range(1000))
    folder = windtunnel.stack.exec("worker", "sh", "-c", 'ls "$SHARED_FOLDER"')
    assert folder.split() == [f"{run.dag_run_id}.txt"]


def test_what_is_no_task_is_put_aside_and_tasks_go_on(
    airflow: AirflowClient, windtunnel: RunningStack, sqs: Any
) -> None:
    stack = windtunnel.stack
    bodies = ["no task", json.dumps({"one": 1})]
    for body in bodies:
        sqs.send_message(QueueUrl=url(sqs, stack, "default"), MessageBody=body)

    run = airflow.wait(airflow.trigger("test-celery-shares", {"tasks": 2, "seconds": 0}), timeout=60)

    assert run.state == "success"
    queue = wait_until(
        "the queue for what is no task",
        lambda: url(sqs, stack, "not-tasks"),
        timeout=30,
        retry_on=(sqs.exceptions.QueueDoesNotExist,),
    )
    wait_until("both messages", lambda: numbers(sqs, queue) == (2, 0), timeout=30)
    said = [line for line in stack.logs("worker").splitlines() if "is no task, it is put aside" in line]
    assert len(said) == 2
    assert numbers(sqs, url(sqs, stack, "default"))[0] == 0
