"""A page of the webserver that shows a CloudWatch log stream: an emulated AWS has no console to look into.

``GET /cloudwatch/log-events?group=…&stream=…`` answers with the stream as plain text; without a stream, with
all streams of the group, those events that match ``filter_pattern``. Airflow's own credentials read, those of
the connection ``aws_default``.

``GET /cloudwatch/container-log?task_instance=…`` leads on to the stream of the container in which an executor
has run a try of a task. The executor's connection is asked for it.

Both are for users who may read task logs.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

from airflow.plugins_manager import AirflowPlugin

# Every Airflow process loads all plugins, but only the webserver needs FastAPI and boto3.
if TYPE_CHECKING:
    from fastapi import FastAPI, Response

# A browser can still show this at once.
MAX_CHARS = 10_000_000
# As wide as the time.
_INDENT = "\n" + " " * len("2026-01-31T23:59:59.999Z ")


class CloudWatchLogsPlugin(AirflowPlugin):
    """Puts the page into the webserver, and the link to a container's log on the pages of tasks."""

    name = "cloudwatch_logs"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]  # Airflow only reads it
        """Return the page's app. Only the webserver asks for it."""
        return [{"name": "CloudWatch Logs", "url_prefix": "/cloudwatch", "app": make_app()}]

    @cached_property
    def global_operator_extra_links(self) -> list[Any]:  # type: ignore[override]  # the same
        """Return the links that each task has: none if no executor of this Airflow runs containers."""
        from custom.links.container_log import links

        return [*links()]


def make_app() -> "FastAPI":
    """Make the app."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
    from airflow.api_fastapi.core_api.security import GetUserDep
    from fastapi import Depends, FastAPI, HTTPException, Query, Response

    def may_read_task_logs(user: GetUserDep) -> None:
        # Airflow's requires_access_dag would take the DAG from the query: users could name one of their own.
        auth = get_auth_manager()
        if not auth.is_authorized_dag(method="GET", access_entity=DagAccessEntity.TASK_LOGS, user=user):
            raise HTTPException(403, "Forbidden")

    app = FastAPI(openapi_url=None, dependencies=[Depends(may_read_task_logs)])

    @app.get("/log-events")
    def log_events(
        group: Annotated[str, Query(min_length=1)],
        stream: str = "",
        filter_pattern: str = "",
        region: str = "",
    ) -> Response:
        return _answer(region, group, stream, filter_pattern)

    @app.get("/container-log")
    def container_log(task_instance: UUID) -> Response:
        return _lead_on(task_instance)

    return app


def _lead_on(task_instance: UUID) -> "Response":
    from botocore.exceptions import BotoCoreError, ClientError
    from fastapi.responses import RedirectResponse

    from custom.links.container_log import task_try
    from custom.links.container_streams import NoLogStream, container_log_url

    found = task_try(task_instance)
    if found is None:
        return _plain(404, f"No container has run a task instance with the id {task_instance}.\n")
    try:
        url = container_log_url(found)
    except NoLogStream as reason:
        return _plain(404, f"{reason}\n")
    except (BotoCoreError, ClientError) as error:
        return _plain(502, f"AWS does not say where the log of {found.external_executor_id} is: {error}\n")
    # Without a scheme it is relative to the web page, which is one step up from here.
    return RedirectResponse(
        url if urlsplit(url).scheme else f"../{url}", headers={"Cache-Control": "no-store"}
    )


def _answer(region: str, group: str, stream: str, filter_pattern: str) -> "Response":
    from botocore.exceptions import BotoCoreError, ClientError

    from custom.links.quick_client import quick_client

    where = f"log stream {stream} in the group {group}" if stream else f"log group {group}"
    try:
        client = quick_client("logs", region)
        pages = _stream(client, group, stream) if stream else _group(client, group, filter_pattern)
        return _plain(200, _text(chain.from_iterable(pages)))
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            hint = "A function or a container makes it as it sends its first lines: load again then."
            return _plain(404, f"There is no {where}. {hint}\n")
        return _plain(502, f"CloudWatch Logs refuses to show the {where}: {error}\n")
    except BotoCoreError as error:
        return _plain(502, f"The {where} cannot be read from CloudWatch Logs: {error}\n")


def _plain(status: int, text: str) -> "Response":
    """Answer with text that no browser takes for anything else: functions wrote it, or the query did."""
    from fastapi.responses import PlainTextResponse

    # JSON may bring half of a surrogate pair, which UTF-8 cannot carry.
    content = text.encode("utf-8", errors="backslashreplace")
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    return PlainTextResponse(content, status, headers)


def _stream(client: Any, group: str, stream: str) -> Iterator[list[dict[str, Any]]]:
    """Read a stream from its head, page by page."""
    position: dict[str, str] = {}
    while True:
        page = client.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **position)
        yield page["events"]
        # At the end CloudWatch returns the token it was given. Pages before that may be empty.
        if page["nextForwardToken"] == position.get("nextToken"):
            return
        position = {"nextToken": page["nextForwardToken"]}


def _group(client: Any, group: str, pattern: str) -> Iterator[list[dict[str, Any]]]:
    """Read what matches in all streams of a group, page by page; each event says its stream."""
    # LocalStack applies no pattern. The phrases of our links are looked for here.
    phrase = pattern[1:-1] if pattern[:1] == pattern[-1:] == '"' else ""
    # AWS puts the streams' events in order of time in any case.
    arguments = {"logGroupName": group, "interleaved": True} | ({"filterPattern": pattern} if pattern else {})
    for page in client.get_paginator("filter_log_events").paginate(**arguments):
        yield [
            event | {"message": f"{event['logStreamName']} {event['message']}"}
            for event in page["events"]
            if phrase in event["message"]
        ]


def _text(events: Iterable[dict[str, Any]]) -> str:
    lines: list[str] = []
    chars = 0
    for event in events:
        if chars > MAX_CHARS:
            rest = "the AWS command line shows the rest"
            lines.append(f"… [cut: more than {MAX_CHARS:,} characters; {rest}]\n")
            break
        seconds, milliseconds = divmod(event["timestamp"], 1000)
        moment = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03}Z"
        message = event["message"].rstrip("\n").replace("\n", _INDENT)
        lines.append(f"{moment} {message}\n")
        chars += len(lines[-1])
    return "".join(lines) or "No events yet.\n"
