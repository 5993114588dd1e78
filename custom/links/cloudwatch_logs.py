"""A link from a task's page to the CloudWatch log stream of its function."""

import logging
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

# Where custom/plugins/cloudwatch_logs.py answers, relative to the web page: that may have any port and path.
PAGE = "cloudwatch/log-events"

# Of the endpoints in botocore's endpoints.json, with dual-stack forms. VPC and FIPS endpoints are below them.
_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")

log = logging.getLogger(__name__)


class LogStreamLink(BaseOperatorLink):
    """The button "CloudWatch log stream" on a task's page. Empty, and so not shown, until it is persisted."""

    name = "CloudWatch log stream"

    @classmethod
    def persist(cls, context: "Context", url: str) -> None:
        """Show the link from now on, not only when the task has ended. Never raises."""
        try:
            context["ti"].xcom_push(key=cls().xcom_key, value=url)
        except Exception as error:
            log.warning("The link to the log stream could not be stored: %s", error)

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """Return what this try of the task has persisted; empty if nothing."""
        return XCom.get_value(ti_key=ti_key, key=self.xcom_key) or ""


def log_stream_url(
    region_name: str, partition: str, endpoint_url: str, group: str, stream: str, *, filter_pattern: str = ""
) -> str:
    """Return where a person can read a log stream: in AWS's console, else on the webserver's own page.

    :param region_name: with partition and endpoint_url from the ``meta`` of a client for CloudWatch Logs.
    :param endpoint_url: decides which of the two it is.
    :param stream: empty for all streams of the group.
    :param filter_pattern: without a stream, shows only these events. In CloudWatch's syntax: ``'"phrase"'``.
    :return: relative to the address of the web page, if it is the webserver's.
    """
    # The DAG parser, which imports every operator's module, does not need it.
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
