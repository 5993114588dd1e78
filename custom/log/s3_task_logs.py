"""Task logs in S3, with the local copy to fall back on; ``logging_config_class`` in airflow.cfg names it."""

from typing import Any

from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG
from airflow.providers.amazon.aws.log.s3_task_handler import S3RemoteLogIO
from botocore.exceptions import BotoCoreError, ClientError


class S3TaskLogs(S3RemoteLogIO):
    """The provider's class, but its reader says what is wrong with S3 instead of raising.

    Airflow looks into the local folder only if the remote reader returns. With the provider's own, the log
    page of a task answers 500 while the bucket is missing or S3 is down.
    """

    def read(self, relative_path: str, ti: Any) -> tuple[list[str], list[str] | None]:
        """Return where the log was found, and the log; the reason, and None, if S3 cannot be read."""
        try:
            return super().read(relative_path, ti)
        except (BotoCoreError, ClientError) as error:
            return [f"{self.remote_base}/{relative_path} cannot be read: {error}"], None


# The two names that Airflow looks for.
LOGGING_CONFIG = DEFAULT_LOGGING_CONFIG
REMOTE_TASK_LOG = S3TaskLogs.from_config()
