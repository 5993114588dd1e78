"""What the DAG finds in AWS, beside what aws.json says."""

import pytest


@pytest.fixture
def put_text(aws_client):
    """Put a text into the DAG's bucket, which is emptied after the test."""
    s3 = aws_client("s3")
    yield lambda key, text: s3.put_object(Bucket="texts", Key=f"in/{key}", Body=text)
    for found in s3.list_objects_v2(Bucket="texts").get("Contents", []):
        s3.delete_object(Bucket="texts", Key=found["Key"])
