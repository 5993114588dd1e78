"""What waits in the queues of SQS."""

from collections.abc import Iterator, Mapping
from typing import Any

from windtunnel.diagnosis.containers import Row
from windtunnel.stack.errors import LISTED

# How many queues are looked at: each takes a call.
MOST = 100

# What the attributes are called that count messages, and what a person calls these.
COUNTED = {
    "ApproximateNumberOfMessages": "waiting",
    "ApproximateNumberOfMessagesNotVisible": "in flight",
    "ApproximateNumberOfMessagesDelayed": "delayed",
}


def _queues(sqs: Any) -> tuple[list[Mapping[str, Any]], int]:
    """Return the queues with their attributes, and how many more there are."""
    pages = sqs.get_paginator("list_queues").paginate()
    urls = [url for page in pages for url in page.get("QueueUrls", ())]
    found: list[Mapping[str, Any]] = [
        {
            "QueueUrl": url,
            "Attributes": sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"],
        }
        for url in urls[:MOST]
    ]
    return found, len(urls) - len(found)


def rows(sqs: Any) -> Iterator[Row]:
    """Yield a row for each queue; if there are many, for those with the most messages.

    :param sqs: boto3's client.
    """
    found, others = _queues(sqs)
    if len(found) > LISTED:
        found.sort(key=lambda queue: -sum(_counts(queue).values()))
    for queue in found[:LISTED]:
        counted = ", ".join(f"{number:,} {what}" for what, number in _counts(queue).items() if number)
        yield queue["QueueUrl"].rpartition("/")[2], "", counted or "empty"
    if (left := len(found[LISTED:]) + others) > 0:
        yield f"and {left:,} more", "", ""


def _counts(queue: Mapping[str, Any]) -> dict[str, int]:
    return {what: int(queue["Attributes"].get(name, 0)) for name, what in COUNTED.items()}


def held(sqs: Any) -> dict[str, list[Mapping[str, Any]]]:
    """Return the queues with their attributes; no message is taken."""
    return {"queues": _queues(sqs)[0]}
