from collections.abc import Mapping
from typing import Any

from windtunnel.diagnosis import sqs

from ..stand_ins import aws

EMPTY = {"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0"}


def client(queues: Mapping[str, Mapping[str, str]]) -> Any:
    urls = {f"http://localhost:4566/000000000000/{name}": values for name, values in queues.items()}
    return aws.client(
        "sqs",
        ListQueues={"QueueUrls": list(urls)},
        GetQueueAttributes=lambda asked: {"Attributes": urls[asked["QueueUrl"]]},
    )


def test_messages_are_counted_by_what_becomes_of_them() -> None:
    dead = {"ApproximateNumberOfMessages": "2", "ApproximateNumberOfMessagesNotVisible": "1", "QueueArn": "a"}

    assert list(sqs.rows(client({"results": EMPTY, "dlq": dead}))) == [
        ("results", "", "empty"),
        ("dlq", "", "2 waiting, 1 in flight"),
    ]


def test_without_queues_nothing_is_said() -> None:
    assert list(sqs.rows(aws.client("sqs", ListQueues={}))) == []


def test_of_many_queues_those_with_messages_are_listed() -> None:
    queues = {f"queue-{number}": EMPTY for number in range(120)}
    queues["queue-99"] = {"ApproximateNumberOfMessages": "3"}

    found = list(sqs.rows(client(queues)))

    assert found[0] == ("queue-99", "", "3 waiting")
    assert found[-1] == ("and 90 more", "", "")
    assert len(found) == 31


def test_the_bundle_has_attributes_and_takes_no_message() -> None:
    asked = client({"results": EMPTY})

    assert [queue["Attributes"] for queue in sqs.held(asked)["queues"]] == [EMPTY]
    assert {name for name, _ in asked.asked} == {"ListQueues", "GetQueueAttributes"}
