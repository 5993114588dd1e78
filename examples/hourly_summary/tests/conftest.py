"""What the DAG finds in AWS."""

from contextlib import suppress

import pytest


@pytest.fixture(scope="session")
def bucket(aws_client):
    """The DAG's bucket, and its functions' log group; with --windtunnel-reuse they may be there."""
    logs, s3 = aws_client("logs"), aws_client("s3")
    with suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName="/airflow/lambda/count-words")
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        region = {"LocationConstraint": "ap-southeast-2"}
        s3.create_bucket(Bucket="texts", CreateBucketConfiguration=region)
    return "texts"


@pytest.fixture
def put_text(aws_client, bucket):
    """Put a text into the bucket, which is emptied after the test."""
    s3 = aws_client("s3")
    yield lambda key, text: s3.put_object(Bucket=bucket, Key=f"in/{key}", Body=text)
    for found in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
        s3.delete_object(Bucket=bucket, Key=found["Key"])
