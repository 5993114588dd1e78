"""From a task's page to the log stream of its function: the link, and the page of the webserver behind it."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_relay import contract
from tests.run_logs import Try, events, streams
from tests.visitor import TIMEOUT, Visitor
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.waiting import wait_until

NAME = "CloudWatch log stream"
FUNCTION = "airflow-test"


@pytest.fixture
def running(airflow: AirflowClient) -> Iterator[Try]:
    """A task whose function takes 4 s."""
    conf = {"function_name": FUNCTION, "payloads": [{"max_len": 4, "interval": 1, "fails_at": None}]}
    run = airflow.trigger("test-once", conf)
    yield Try(run.dag_id, run.dag_run_id, "invoke")
    airflow.wait(run, timeout=60)


def test_the_link_is_there_while_the_task_runs_and_leads_to_the_functions_lines(
    airflow: AirflowClient, admin: Visitor, logs_client: Any, running: Try
) -> None:
    def line_on_the_page() -> str:
        text = admin.get(admin.links(running).get(NAME) or "").data.decode()
        return text if "step 0 of 4" in text else ""

    wait_until("the function's first line on the page", line_on_the_page, timeout=TIMEOUT)
    run = airflow.run(running.dag_id, running.run_id)
    assert run.state == "running"

    assert airflow.wait(run, timeout=60).state == "success"
    links = admin.links(running)
    # No executor of this stack runs containers, so there is no link to a container's log.
    assert set(links) == {NAME}
    link = links[NAME] or ""
    page = admin.get(link)

    (stream,) = streams(logs_client, running, FUNCTION)
    assert parse_qs(urlsplit(link).query)["stream"] == [stream]
    assert page.status == 200
    assert page.headers["content-type"] == "text/plain; charset=utf-8"
    messages = [line.partition("Z ")[2] for line in page.data.decode().splitlines()]
    assert messages == [event["message"] for event in events(logs_client, stream, FUNCTION)]
    assert isinstance(contract.decode(messages[-1]), contract.EndMarker)


def test_without_login_the_page_shows_nothing(airflow: AirflowClient) -> None:
    answer = Visitor(airflow.address).get(f"cloudwatch/log-events?group=/airflow/lambda/{FUNCTION}")

    assert answer.status == 401
    assert b"step" not in answer.data


def test_a_stream_that_is_not_there_is_named(admin: Visitor) -> None:
    answer = admin.get(f"cloudwatch/log-events?group=/airflow/lambda/{FUNCTION}&stream=not-yet")

    assert answer.status == 404
    assert b"There is no log stream not-yet" in answer.data


def test_the_page_is_loaded_by_airflow_and_found_by_links_of_any_page(admin: Visitor) -> None:
    """Links to it are relative, and so go by the base that the web page has."""
    assert b'<base href="/"' in admin.get("dags/test-once/runs").data
    plugins = admin.get("api/v2/plugins").json()["plugins"]
    (source,) = [plugin["source"] for plugin in plugins if plugin["name"] == "cloudwatch_logs"]
    assert source.startswith("windtunnel-airflow==0: ")
