"""Airflow's executor for Celery, for this stack."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from airflow.models.taskinstance import TaskInstance
from airflow.providers.celery.executors.celery_executor import CeleryExecutor as ProvidersCeleryExecutor
from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from botocore.exceptions import BotoCoreError, ClientError
from celery import states
from kombu.exceptions import OperationalError
from sqlalchemy.exc import SQLAlchemyError

from custom.executors.task_events import TaskEvents

# Until the next message after one that could not be sent, and between two looks at the queues, in seconds.
PAUSE = 2.0
LOOK_INTERVAL = 5.0

LOGS = "While a task runs, its log is in the folder that all services share."

# What comes of a message if SQS is away.
UNREACHABLE = (AirflowTaskTimeout, BotoCoreError, OperationalError, OSError)


class CeleryExecutor(TaskEvents, ProvidersCeleryExecutor):
    """Sends each task as a message to a queue, from which a worker takes it.

    SQS on AWS loses no message and is nearly never away. LocalStack's is restarted now and then, without its
    messages: so each one is kept until a worker has begun with it.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take the arguments of the provider's executor."""
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        # What no worker has begun with, by key.
        self._waiting: dict[Any, Any] = {}
        # When each queue was created, as SQS says it.
        self._created: dict[str, str] = {}
        self._next_send = self._next_look = 0.0
        self._is_held_back = False

    def _send_workloads_to_celery(self, workload_tuples_to_send: Sequence[Any]) -> list[Any]:
        """Send messages, as far as SQS takes them; what is left stays among the queued ones.

        The provider fails each task whose message cannot be sent.
        """
        answers: list[Any] = []
        for workload in workload_tuples_to_send if time.monotonic() >= self._next_send else ():
            if workload[2] not in self._created and (created := self._when_created(workload[2])):
                self._created[workload[2]] = created
            (answer,) = super()._send_workloads_to_celery([workload])
            error = getattr(answer[2], "exception", None)
            if isinstance(error, UNREACHABLE):
                self._hold_back(error)
                break
            if error is None:
                self._is_held_back = False
                self._waiting[workload[0]] = workload
            answers.append(answer)
        return answers

    def _hold_back(self, error: BaseException) -> None:
        self._next_send = time.monotonic() + PAUSE
        if not self._is_held_back:
            self._is_held_back = True
            self.log.warning("SQS takes no message, tasks are held back until it does: %s", error)

    def sync(self) -> None:
        """See how the tasks fare, and whether the queues are still those that the messages were sent to."""
        super().sync()
        if self._waiting and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_INTERVAL
            self._send_again()

    def _send_again(self) -> None:
        """Send once more what was in a queue that has been created anew since."""
        for queue in {workload[2] for workload in self._waiting.values()}:
            created = self._when_created(queue)
            if created is None or self._created.setdefault(queue, created) == created:
                continue
            lost = [workload for workload in self._waiting.values() if workload[2] == queue]
            self.log.warning("The queue %s was created anew: %d messages are sent again", queue, len(lost))
            if len(self._send_workloads_to_celery(lost)) == len(lost):
                self._created[queue] = created

    def _when_created(self, queue: str) -> str | None:
        """Return when a queue was created; None if SQS does not say it."""
        try:
            with self.celery_app.connection_for_write() as connection:
                return str(connection.default_channel.created(queue))
        except (*UNREACHABLE, ClientError) as error:
            self.log.debug("SQS does not say when the queue %s was created: %s", queue, error)
            return None

    def update_task_state(self, key: Any, state: str, info: Any) -> None:
        """Take a task's state as Celery has it; once a worker has begun with it, its message is not kept."""
        if state != states.PENDING:
            self._waiting.pop(key, None)
        super().update_task_state(key, state, info)

    def change_state(self, key: Any, state: Any, info: Any = None, remove_running: bool = True) -> None:
        """Note for the scheduler how a task has ended."""
        self._waiting.pop(key, None)
        super().change_state(key, state, info, remove_running)

    def revoke_task(self, *, ti: TaskInstance) -> None:
        """Forget a task that has been queued for too long; Airflow queues it again.

        The provider's tells the workers, too, for which they would need remote control.
        """
        self._waiting.pop(ti.key, None)
        self.workloads.pop(ti.key, None)
        self.running.discard(ti.key)
        self.queued_tasks.pop(ti.key, None)

    def get_task_log(self, ti: TaskInstance, try_number: int) -> tuple[list[str], list[str]]:
        """Say where a running task's log is; without this Airflow asks a log server, which no worker has."""
        return [LOGS], []

    def fail(self, key: Any, info: Any = None) -> None:
        """Give a task up, and say why on its page; the provider says it in the scheduler's log alone."""
        result = self.workloads.get(key)
        # A reason that cannot be had keeps no task from its end.
        with suppress(SQLAlchemyError):
            if result is not None and isinstance(reason := result.result, BaseException):
                self.log_task_event(
                    event="celery task failed", extra=f"{type(reason).__name__}: {reason}", ti_key=key
                )
        super().fail(key, info)
