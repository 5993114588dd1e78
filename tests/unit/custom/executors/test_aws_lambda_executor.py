"""What comes of the messages of the function, with the provider's executor but for AWS and the database."""

import json
import time
from collections.abc import Mapping
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import TaskInstanceState

from custom.executors import aws_lambda_executor, task_events
from custom.executors.aws_lambda_executor import STALE, AwsLambdaExecutor

KEY = TaskInstanceKey("dag", "task", "run", 1, -1)
OTHER = TaskInstanceKey("dag", "other", "run", 1, -1)
RESULTS, DEAD_LETTERS = "http://localhost/0/results", "http://localhost/0/dlq"


class Queues:
    """What the executor sees of SQS."""

    def __init__(self) -> None:
        self.messages: dict[str, list[dict[str, Any]]] = {RESULTS: [], DEAD_LETTERS: []}
        self.deleted: list[str] = []
        self.shown_again: list[str] = []

    def put(self, content: Any, queue: str = RESULTS, age: float = 0.0, error: str = "") -> None:
        message: dict[str, Any] = {
            "Body": content if isinstance(content, str) else json.dumps(content),
            "ReceiptHandle": f"handle-{len(self.messages[queue])}",
            "Attributes": {"SentTimestamp": str(round((time.time() - age) * 1000))},
        }
        if error:
            message["MessageAttributes"] = {"ErrorMessage": {"StringValue": error, "DataType": "String"}}
        self.messages[queue].append(message)

    def receive_message(self, **arguments: Any) -> Mapping[str, Any]:
        hidden = set() if "ErrorMessage" in arguments["MessageAttributeNames"] else {"MessageAttributes"}
        return {
            "Messages": [
                {name: value for name, value in message.items() if name not in hidden}
                for message in self.messages[arguments["QueueUrl"]]
            ]
        }

    def delete_message(self, **arguments: Any) -> None:
        self.deleted.append(arguments["ReceiptHandle"])

    def change_message_visibility(self, **arguments: Any) -> None:
        self.shown_again.append(arguments["ReceiptHandle"])


@pytest.fixture
def queues() -> Queues:
    return Queues()


@pytest.fixture(autouse=True)
def events(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be saved among the events of tasks."""
    saved: list[Any] = []
    session = nullcontext(SimpleNamespace(add=saved.append))
    monkeypatch.setattr(task_events, "create_session", lambda: session)
    return saved


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch, queues: Queues) -> AwsLambdaExecutor:
    for name, value in (
        ("FUNCTION_NAME", "f"),
        ("QUEUE_URL", RESULTS),
        ("DEAD_LETTER_QUEUE_URL", DEAD_LETTERS),
    ):
        monkeypatch.setenv(f"AIRFLOW__AWS_LAMBDA_EXECUTOR__{name}", value)
    monkeypatch.setattr(AwsLambdaExecutor, "load_connections", lambda *_, **__: None)
    made = AwsLambdaExecutor(parallelism=4)
    made.sqs_client = queues
    for key in (KEY, OTHER):
        made.running_workloads[text_of(key)] = key
        made.running.add(key)
    return made


def text_of(key: TaskInstanceKey) -> str:
    return json.dumps(key._asdict())


def told(executor: AwsLambdaExecutor) -> dict[Any, tuple[Any, Any]]:
    return dict(executor.get_event_buffer())


def test_a_task_that_has_ended_well_is_a_success(executor: AwsLambdaExecutor, queues: Queues) -> None:
    queues.put({"task_key": text_of(KEY), "return_code": 0})

    executor.process_queue(RESULTS)

    assert told(executor) == {KEY: (TaskInstanceState.SUCCESS, None)}
    assert (queues.deleted, queues.shown_again) == (["handle-0"], [])
    assert executor.running == {OTHER}


def test_the_reason_of_a_failure_is_told_to_the_scheduler_and_on_the_tasks_page(
    executor: AwsLambdaExecutor, queues: Queues, events: list[Any]
) -> None:
    queues.put({"task_key": text_of(KEY), "return_code": 1, "reason": "Lambda's limit was near"})

    executor.process_queue(RESULTS)

    assert told(executor) == {KEY: (TaskInstanceState.FAILED, "Lambda's limit was near")}
    assert [(event.event, event.task_id, event.extra) for event in events] == [
        ("lambda failure", "task", "Lambda's limit was near")
    ]


def test_a_callback_has_no_page(executor: AwsLambdaExecutor, events: list[Any]) -> None:
    executor.log_task_event(event="e", extra="x", ti_key="a callback")

    assert not events


def test_a_command_that_fails_by_itself_is_no_event_of_its_own(
    executor: AwsLambdaExecutor, queues: Queues, events: list[Any]
) -> None:
    queues.put({"task_key": text_of(KEY), "return_code": 1})

    executor.process_queue(RESULTS)

    assert told(executor) == {KEY: (TaskInstanceState.FAILED, None)}
    assert not events


def test_a_dead_letter_fails_its_task_with_what_lambda_says(
    executor: AwsLambdaExecutor, queues: Queues
) -> None:
    queues.put(
        {"task_key": text_of(KEY), "command": []}, DEAD_LETTERS, error="Runtime exited: signal: killed"
    )
    queues.put({"task_key": text_of(OTHER), "command": []}, DEAD_LETTERS)

    executor.process_queue(DEAD_LETTERS)

    states = told(executor)
    assert states[KEY] == (
        TaskInstanceState.FAILED,
        "The function has failed: Runtime exited: signal: killed",
    )
    assert "see the log of the function" in states[OTHER][1]


@pytest.mark.parametrize("body", ["no JSON", "[]", "{}"])
def test_what_is_no_result_is_removed(executor: AwsLambdaExecutor, queues: Queues, body: str) -> None:
    queues.put(body)
    queues.put({"task_key": text_of(KEY), "return_code": 0})

    executor.process_queue(RESULTS)

    assert queues.deleted == ["handle-0", "handle-1"]
    assert list(told(executor)) == [KEY]


def test_what_nobody_here_waits_for_is_left_to_other_schedulers_for_a_while(
    executor: AwsLambdaExecutor, queues: Queues
) -> None:
    for age in (0.0, STALE + 1):
        queues.put({"task_key": "of another", "return_code": 0}, age=age)

    executor.process_queue(RESULTS)

    assert (queues.shown_again, queues.deleted) == (["handle-0"], ["handle-1"])
    assert told(executor) == {}


def test_queues_are_read_at_times_while_nothing_runs(
    executor: AwsLambdaExecutor, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages of tasks that ended while no scheduler ran would stay there."""
    executor.running_workloads.clear()
    queues.put({"task_key": "of a dead scheduler", "return_code": 0}, age=STALE + 1)

    executor.sync_running_workloads()
    assert queues.deleted == []

    later = time.monotonic() + aws_lambda_executor.IDLE_INTERVAL
    monkeypatch.setattr("time.monotonic", lambda: later)
    executor.sync_running_workloads()
    assert queues.deleted == ["handle-0"]


@pytest.mark.parametrize(
    ("state", "is_queued_again", "is_let_go"),
    [
        (TaskInstanceState.SUCCESS, False, True),
        (TaskInstanceState.DEFERRED, False, True),
        (TaskInstanceState.UP_FOR_RETRY, False, True),
        (None, False, True),
        # It was deferred, and its trigger has fired.
        (TaskInstanceState.QUEUED, True, True),
        (TaskInstanceState.QUEUED, False, False),
        (TaskInstanceState.RUNNING, False, False),
    ],
)
def test_a_task_whose_message_is_lost_does_not_keep_its_slot(
    executor: AwsLambdaExecutor,
    monkeypatch: pytest.MonkeyPatch,
    state: TaskInstanceState | None,
    is_queued_again: bool,
    is_let_go: bool,
) -> None:
    monkeypatch.setattr(aws_lambda_executor, "LOOK_INTERVAL", 0)
    monkeypatch.setattr(
        aws_lambda_executor, "_states", lambda _: {KEY: state, OTHER: TaskInstanceState.RUNNING}
    )
    if is_queued_again:
        executor.queued_tasks[KEY] = None  # type: ignore[assignment]

    executor.sync_running_workloads()
    assert executor.running == {KEY, OTHER}, "the message may be on its way"

    executor.sync_running_workloads()
    assert executor.running == ({OTHER} if is_let_go else {KEY, OTHER})
    assert (text_of(KEY) in executor.running_workloads) is not is_let_go


def test_a_task_that_was_queued_for_too_long_is_forgotten(executor: AwsLambdaExecutor) -> None:
    class Task:
        key = KEY

    executor.revoke_task(ti=Task())  # type: ignore[arg-type]

    assert executor.running == {OTHER}
    assert list(executor.running_workloads.values()) == [OTHER]


def test_an_adopted_task_takes_a_slot(executor: AwsLambdaExecutor) -> None:
    class Task:
        key = TaskInstanceKey("dag", "adopted", "run", 1, -1)
        external_executor_id = text_of(key)
        state = TaskInstanceState.RUNNING

    assert executor.try_adopt_task_instances([Task()]) == []  # type: ignore[list-item]

    assert Task.key in executor.running


def test_the_end_of_the_scheduler_waits_for_no_task(
    executor: AwsLambdaExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[None] = []
    monkeypatch.setattr(executor, "sync", lambda: looks.append(None))

    executor.end()

    assert looks == [None]


def test_the_provider_reads_its_queues_as_before(executor: AwsLambdaExecutor, queues: Queues) -> None:
    """What is overridden here is still what the provider's own loop calls."""
    executor.IS_BOTO_CONNECTION_HEALTHY = True
    queues.put({"task_key": text_of(KEY), "return_code": 0})
    queues.put({"task_key": text_of(OTHER), "command": []}, DEAD_LETTERS, error="killed")

    executor.sync()  # type: ignore[no-untyped-call]

    assert told(executor) == {
        KEY: (TaskInstanceState.SUCCESS, None),
        OTHER: (TaskInstanceState.FAILED, "The function has failed: killed"),
    }
