"""The amazon provider's executor for Lambda, for this stack."""

import json
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.providers.amazon.aws.executors.aws_lambda import AwsLambdaExecutor as ProvidersLambdaExecutor
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select

from custom.executors.aws_executor import AwsExecutor

# SQS hands out so many messages at most.
MOST_MESSAGES = 10

# How often the queues are read while nothing runs, and how often Airflow's database is asked what has ended,
# in seconds.
IDLE_INTERVAL = 30.0
LOOK_INTERVAL = 30.0

# A message that nobody waits for is offered to other schedulers: again after so long, and until it is so old,
# in seconds. By then a scheduler that takes over tasks has done so.
OFFERED_AGAIN = 5
STALE = 120.0

UNDER_WAY = frozenset({TaskInstanceState.QUEUED, TaskInstanceState.RUNNING, TaskInstanceState.RESTARTING})


class AwsLambdaExecutor(AwsExecutor, ProvidersLambdaExecutor):
    """Runs each task by a call of Lambda, which may take 15 minutes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take the arguments of the provider's executor."""
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        self._last_read = self._last_look = time.monotonic()
        # Tasks that had ended when the database was asked last, and of which no message had come.
        self._ended: Collection[TaskInstanceKey] = ()

    def sync_running_workloads(self) -> None:
        """Read both queues, and let go of tasks whose message is lost.

        The provider's reads nothing while it runs nothing. Messages of tasks that have ended between the
        death of a scheduler and the next one's start would stay in the queues then.
        """
        now = time.monotonic()
        if not self.running_workloads and now - self._last_read < IDLE_INTERVAL:
            return
        self._last_read = now
        for queue_url in filter(None, (self.sqs_queue_url, self.dlq_url)):
            self.process_queue(queue_url)
        if now - self._last_look >= LOOK_INTERVAL:
            self._last_look = now
            self._release_lost()

    def process_queue(self, queue_url: str) -> None:
        """Take the messages of a queue.

        The provider's drops the reason of a failure. What another scheduler may wait for it shows again at
        once and for ever, so that ten such messages hide all others.
        """
        answer = self.sqs_client.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=MOST_MESSAGES,
            MessageSystemAttributeNames=["SentTimestamp"],
            MessageAttributeNames=["ErrorMessage"],
        )
        for message in answer.get("Messages", []):
            named = {"QueueUrl": queue_url, "ReceiptHandle": message["ReceiptHandle"]}
            if self._take(message, queue_url):
                self.sqs_client.delete_message(**named)
            else:
                self.sqs_client.change_message_visibility(**named, VisibilityTimeout=OFFERED_AGAIN)

    def _take(self, message: Mapping[str, Any], queue_url: str) -> bool:
        """Take one message; return whether it is done with."""
        try:
            content = json.loads(message["Body"])
            task_key = content["task_key"]
        except (ValueError, KeyError, TypeError):
            self.log.warning("%s has a message that is no result of a task: %s", queue_url, message["Body"])
            return True
        key = self.running_workloads.pop(task_key, None)
        if key is None:
            age = time.time() - int(message["Attributes"]["SentTimestamp"]) / 1000
            if age > STALE:
                self.log.info("Nobody has waited for the result of %s for %d s: it is dropped", task_key, age)
            return age > STALE
        if content.get("return_code") == 0:
            self.success(key)
        else:
            self._fail(key, _reason(content, message))
        return True

    def _fail(self, key: Any, reason: str) -> None:
        """Report a failure; the reason is in the scheduler's log, and among the events of the task."""
        self.fail(key, reason or None)
        if reason:
            self.log.error("Lambda has not run %s to its end: %s", key, reason)
            self.log_task_event(event="lambda failure", extra=reason, ti_key=key)

    def _release_lost(self) -> None:
        """Let go of tasks that are over, as Airflow's database has it, and whose message never came.

        A restart of LocalStack loses the queues. Each such task would keep its slot, and one that was
        deferred would never go on.
        """
        texts = {
            key: text for text, key in self.running_workloads.items() if isinstance(key, TaskInstanceKey)
        }
        states = _states(texts)
        ended = {
            key
            for key in texts
            if states.get(key) not in UNDER_WAY
            or (states[key] == TaskInstanceState.QUEUED and key in self.queued_tasks)
        }
        # At the second look, as the message may be on its way.
        for key in ended.intersection(self._ended):
            self.log.warning(
                "No result of %s has come, and it is %s: it is let go", key, states.get(key, "over")
            )
            self._forget(key, texts[key])
        self._ended = ended

    def _forget(self, key: Any, task_key: str) -> None:
        self.running_workloads.pop(task_key, None)
        self.running.discard(key)

    def try_adopt_task_instances(self, tis: Sequence[TaskInstance]) -> Sequence[TaskInstance]:
        """Adopt tasks of a scheduler that is dead; they take slots, as they did there."""
        left = super().try_adopt_task_instances(tis)
        self.running.update(self.running_workloads.values())
        return left

    def revoke_task(self, *, ti: TaskInstance) -> None:
        """Forget a task that has been queued for too long; Airflow queues it again.

        The provider has no such method, so a task whose call is lost would stay queued for ever. Airflow
        refuses to let a call run that comes late.
        """
        self.queued_tasks.pop(ti.key, None)
        for text in [text for text, key in self.running_workloads.items() if key == ti.key]:
            self._forget(ti.key, text)


def _reason(content: Mapping[str, Any], message: Mapping[str, Any]) -> str:
    """Return why a task has failed, unless it is the task's own business."""
    if "return_code" in content:
        return str(content.get("reason") or "")
    # A dead letter is the event itself; Lambda says the error beside it.
    said = message.get("MessageAttributes", {}).get("ErrorMessage", {}).get("StringValue")
    return f"The function has failed: {said or 'Lambda does not say why; see the log of the function'}"


def _states(keys: Collection[TaskInstanceKey]) -> dict[TaskInstanceKey, str | None]:
    """Return the states of those tasks that the database knows."""
    condition = TaskInstance.filter_for_tis(keys)
    if condition is None:
        return {}
    with create_session() as session:
        return {found.key: found.state for found in session.scalars(select(TaskInstance).where(condition))}
