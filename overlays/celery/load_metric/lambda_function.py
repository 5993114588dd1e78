"""Measures each minute how well the workers of Celery fit their queues; ``docs/celery.md``.

A rule of EventBridge runs it. Workers say how many slots they have, SQS says how many tasks there are.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import boto3

LOG = logging.getLogger()
LOG.setLevel(logging.INFO)

NAMESPACE = "Airflow/Celery"
MINUTE = timedelta(minutes=1)

# Attributes of a queue: the messages that no worker has, and those that one has.
VISIBLE, IN_FLIGHT = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"


def load(waiting: int, running: int, slots: float) -> float | None:
    """Return how many tasks there are for each slot: 1 is all busy and nothing waits.

    :param waiting: tasks in the queue that no worker has.
    :param running: tasks that workers have.
    :param slots: how many tasks the workers of the queue run at a time, all together.
    :return: tasks per slot; None without slots, as there is nothing to divide by.
    """
    return (waiting + running) / slots if slots else None


def lambda_handler(event: Mapping[str, Any], _: Any) -> dict[str, dict[str, float]]:
    """Write the metrics of each queue to CloudWatch, and return them, by queue.

    :param event: ``prefix``, with which the names of the queues begin.
    """
    now = datetime.now(UTC)
    sqs = _client("sqs")
    pages = sqs.get_paginator("list_queues").paginate(QueueNamePrefix=event["prefix"])
    urls = {url.rpartition("/")[2]: url for page in pages for url in page.get("QueueUrls", ())}
    slots = _slots(list(urls), now.replace(second=0, microsecond=0)) if urls else {}
    found: dict[str, dict[str, float]] = {}
    for queue, url in urls.items():
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[VISIBLE, IN_FLIGHT])
        waiting, running = (int(answer["Attributes"][name]) for name in (VISIBLE, IN_FLIGHT))
        found[queue] = {"Waiting": waiting, "Running": running}
        if (value := load(waiting, running, slots.get(queue, 0))) is not None:
            found[queue]["Load"] = value
    if data := list(_data(found, now)):
        _client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=data)
    LOG.info("%s", found)
    return found


@cache
def _client(service: str) -> Any:
    """Return boto3's client, kept for the next minute."""
    return boto3.client(service)


def _slots(queues: Sequence[str], minute: datetime) -> dict[str, float]:
    """Return how many slots workers said they have in the minute before this one: the last full one."""
    named = {"Namespace": NAMESPACE, "MetricName": "Slots"}
    metrics = [{**named, "Dimensions": _dimensions(queue)} for queue in queues]
    queries = [
        {"Id": f"slots{number}", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}
        for number, metric in enumerate(metrics)
    ]
    answer = _client("cloudwatch").get_metric_data(
        StartTime=minute - MINUTE, EndTime=minute, MetricDataQueries=queries
    )
    return {
        queues[int(result["Id"].removeprefix("slots"))]: result["Values"][0]
        for result in answer["MetricDataResults"]
        if result["Values"]
    }


def _dimensions(queue: str) -> list[dict[str, str]]:
    return [{"Name": "Queue", "Value": queue}]


def _data(found: Mapping[str, Mapping[str, float]], now: datetime) -> Iterator[dict[str, Any]]:
    """Yield what PutMetricData takes; all of it has one time, so that it belongs together."""
    for queue, metrics in found.items():
        for name, value in metrics.items():
            yield {
                "MetricName": name,
                "Dimensions": _dimensions(queue),
                "Timestamp": now,
                "Value": value,
                # A ratio has no unit that CloudWatch knows.
                "Unit": "None" if name == "Load" else "Count",
            }
