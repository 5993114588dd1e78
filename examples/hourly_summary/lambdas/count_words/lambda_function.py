"""Counts the words of a text in S3."""

from typing import Any

import boto3

from airflow_relay import relay


@relay
def lambda_handler(event: dict[str, Any], context: Any) -> int:
    """Return the number of words."""
    body = boto3.client("s3").get_object(Bucket=event["bucket"], Key=event["key"])["Body"].read()
    words = len(body.decode().split())
    print(f"{event['key']} has {words} words")  # noqa: T201 - the relay makes a log line of it
    return words
