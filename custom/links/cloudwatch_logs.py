"""A link from a task's page to the CloudWatch log stream of its function."""

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

# Where custom/plugins/cloudwatch_logs.py answers. Relative to the web page, which may be below a path and is
# published on any port.
PAGE = "cloudwatch/log-events"

# Endpoints of the services in botocore's endpoints.json, with their dual-stack forms. VPC and FIPS endpoints
# are below them.
_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")

log = logging.getLogger(__name__)


class LogStreamLink(BaseOperatorLink):
    """The button "CloudWatch log stream" on a task's page. Empty, and so not shown, until it is persisted."""

    name = "CloudWatch log stream"

    @classmethod
    def persist(cls, context: "Context", url: str) -> None:
        """Show the link from now on; Airflow by itself shows links when the task has ended.

        Never raises: a task does not fail for want of a link.
        """
        try:
            context["ti"].xcom_push(key=cls().xcom_key, value=url)
        except Exception as error:
            log.warning("The link to the log stream could not be stored: %s", error)

    @classmethod
    def persist_stream(
        cls, context: "Context", meta: Any, group: str, stream: str, filter_pattern: str = ""
    ) -> None:
        """Show a link to a log stream from now on.

        :param meta: of a boto3 client; the rest as for :func:`log_stream_url`.
        """
        where = (meta.region_name, meta.partition, meta.endpoint_url)
        cls.persist(context, log_stream_url(*where, group, stream, filter_pattern=filter_pattern))

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """Return what this try of the task has persisted; empty if nothing."""
        return XCom.get_value(ti_key=ti_key, key=self.xcom_key) or ""


def log_stream_url(
    region_name: str, partition: str, endpoint_url: str, group: str, stream: str, *, filter_pattern: str = ""
) -> str:
    """Return where a person can read a log stream: in AWS's console, else on the webserver's own page.

    The first three are in a boto3 client's ``meta``: region_name, partition, endpoint_url.

    :param endpoint_url: of CloudWatch Logs; decides which of the two it is.
    :param stream: empty if it is not known: then all streams of the group are meant.
    :param filter_pattern: shows only these events of the group, in CloudWatch's syntax: ``'"a phrase"'``.
        Not used with a stream.
    :return: relative to the address of the web page, when it is the webserver's.
    """
    # Not needed by the DAG parser, which imports every operator's module.
    from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink

    host = urlsplit(endpoint_url).hostname or ""
    domain = BaseAwsLink.get_aws_domain(partition)
    if domain is None or not host.endswith(_AWS_DOMAINS):
        what = {"stream": stream} if stream else {"filter_pattern": filter_pattern}
        return f"{PAGE}?{urlencode({'region': region_name, 'group': group} | what)}"
    console = BASE_AWS_CONSOLE_LINK.format(aws_domain=domain)
    url = f"{console}/cloudwatch/home?region={quote(region_name)}#logsV2:log-groups/log-group/{_twice(group)}"
    if stream:
        return f"{url}/log-events/{_twice(stream)}"
    return f"{url}/log-events$3FfilterPattern$3D{_twice(filter_pattern)}" if filter_pattern else url


def _twice(name: str) -> str:
    """Encode as the console does below its ``#``: percent-encoded twice, then ``$`` for ``%``."""
    return quote(quote(name, safe=""), safe="").replace("%", "$")
