"""AWS for a web page: a person waits for the answer, and can ask again."""

from typing import Any


def quick_client(
    service: str, region_name: str | None = None, aws_conn_id: str | None = "aws_default"
) -> Any:
    """Return a client of boto3 that does not wait long and tries once.

    :param service: as boto3 names it.
    :param region_name: None for that of the connection or the environment.
    :param aws_conn_id: the Airflow connection with the credentials.
    """
    # Every Airflow process loads the plugin of the page, but only the webserver asks AWS.
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from botocore.config import Config

    config = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1})
    hook = AwsBaseHook(aws_conn_id, client_type=service, region_name=region_name or None, config=config)
    return hook.conn
