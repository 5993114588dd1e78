"""How many slots a worker of Celery has, for the load of its queues; ``docs/celery.md``.

Workers alone load this, by Celery's setting ``imports``.
"""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from celery.signals import worker_ready, worker_shutting_down

from custom.executors.celery_transport import BRIEF

log = logging.getLogger(__name__)

NAMESPACE = "Airflow/Celery"
# In seconds.
MINUTE = 60


@worker_ready.connect  # type: ignore[untyped-decorator]
def begin(sender: Any, **_: Any) -> None:
    """Publish the slots of a worker that is ready, until it is told to stop."""
    channel = sender.connection.default_channel
    queues = [channel.canonical_queue_name(name) for name in sender.app.amqp.queues.consume_from]
    slots = Slots(queues, sender.pool.num_processes)
    worker_shutting_down.connect(slots.end)
    slots.start()


class Slots(threading.Thread):
    """Says once in each minute how many slots this worker has; CloudWatch adds up those of all workers.

    A thread, so that the worker does not wait for CloudWatch.
    """

    def __init__(self, queues: Sequence[str], number: int) -> None:
        """Publish nothing yet.

        :param queues: the full names of the queues of SQS that the worker serves.
        :param number: how many tasks it runs at a time.
        """
        super().__init__(name="slots", daemon=True)
        self._queues = queues
        self._number = number
        self._ending = threading.Event()
        self._is_silent = False

    @cached_property
    def _cloudwatch(self) -> Any:
        # 2 MB: all sessions share what they read of boto3's files (config/airflow_local_settings.py).
        return boto3.client("cloudwatch", config=Config(**BRIEF))

    def run(self) -> None:
        """Publish at once, and then as each minute begins."""
        published = None
        while not self._ending.is_set():
            minute = int(time.time() // MINUTE)
            # A wait may end a moment before the next minute.
            if minute != published:
                self._publish(minute)
                published = minute
            self._ending.wait(MINUTE - time.time() % MINUTE)

    def end(self, **_: Any) -> None:
        """Publish no more: a worker that is told to stop takes no task."""
        self._ending.set()

    def _publish(self, minute: int) -> None:
        data = [
            {
                "MetricName": "Slots",
                "Dimensions": [{"Name": "Queue", "Value": queue}],
                "Timestamp": datetime.fromtimestamp(minute * MINUTE, UTC),
                "Value": self._number,
                "Unit": "Count",
            }
            for queue in self._queues
        ]
        try:
            self._cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)
        except (BotoCoreError, ClientError, OSError) as error:
            if not self._is_silent:
                log.warning("CloudWatch does not take how many slots this worker has: %s", error)
            self._is_silent = True
        else:
            if self._is_silent:
                log.warning("CloudWatch takes it again")
            self._is_silent = False
