import pytest
from airflow.providers.amazon.aws.log.s3_task_handler import S3RemoteLogIO
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from custom.log.s3_task_logs import LOGGING_CONFIG, S3TaskLogs

NO_BUCKET = ClientError({"Error": {"Code": "NoSuchBucket", "Message": "gone"}}, "ListObjectsV2")
NO_ANSWER = EndpointConnectionError(endpoint_url="http://localstack:4566")


@pytest.fixture
def task_logs() -> S3TaskLogs:
    return S3TaskLogs(remote_base="s3://logs", base_log_folder="/logs", delete_local_copy=False)


@pytest.mark.parametrize("error", [NO_BUCKET, NO_ANSWER])
def test_what_is_wrong_with_s3_is_a_source_and_no_error(
    task_logs: S3TaskLogs, monkeypatch: pytest.MonkeyPatch, error: ClientError | BotoCoreError
) -> None:
    def read(self: S3RemoteLogIO, relative_path: str, ti: object) -> None:
        raise error

    monkeypatch.setattr(S3RemoteLogIO, "read", read)

    assert task_logs.read("attempt=1.log", None) == (
        [f"s3://logs/attempt=1.log cannot be read: {error}"],
        None,
    )


def test_what_can_be_read_is_handed_on(task_logs: S3TaskLogs, monkeypatch: pytest.MonkeyPatch) -> None:
    found = (["s3://logs/attempt=1.log"], ["a line"])
    monkeypatch.setattr(S3RemoteLogIO, "read", lambda self, relative_path, ti: found)

    assert task_logs.read("attempt=1.log", None) == found


def test_the_rest_of_the_logging_is_airflows_own() -> None:
    assert LOGGING_CONFIG["handlers"]["task"]
