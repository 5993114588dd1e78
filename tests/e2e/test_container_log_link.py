"""From a task's page to the output of the container that an executor has run it in."""

from urllib.parse import parse_qs, urlsplit

import pytest
from airflow_client.client.models.dag_run_response import DAGRunResponse

from tests.run_logs import Try
from tests.visitor import TIMEOUT, Visitor
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.waiting import wait_until

pytestmark = pytest.mark.overlay("ecs", "batch", "lambda-executor")

NAME = "Container log"
GROUPS = {
    "ecs": "/ecs/airflow",
    "batch": "/aws/batch/job",
    "lambda-executor": "/aws/lambda/airflow-lambda-executor",
}


@pytest.fixture(scope="module")
def run(airflow: AirflowClient) -> DAGRunResponse:
    """A run whose tasks have said who they are; number 1 at its second try, too."""
    run = airflow.wait(airflow.trigger("test-executor-tells"), timeout=120)
    assert run.state == "success", "\n".join(airflow.failures(run))
    return run


@pytest.mark.parametrize(("number", "try_number"), [(0, 1), (1, 1), (1, 2)])
def test_each_try_of_a_mapped_task_leads_to_the_lines_of_its_container(
    run: DAGRunResponse, admin: Visitor, pytestconfig: pytest.Config, number: int, try_number: int
) -> None:
    link = admin.links(Try(run.dag_id, run.dag_run_id, "tell", try_number, number))[NAME]
    assert link, "the page of that try has no link"

    # The last lines are shipped after the task has its state.
    says = f"this is try {try_number} of number {number}"
    wait_until(f"the page with {says!r}", lambda: says in text(admin, link), timeout=TIMEOUT)
    lines = text(admin, link)
    assert "Executing workload" in lines
    assert lines.count("this is try") == 1, "another container's lines are on the page"
    (group,) = (GROUPS[name] for name in pytestconfig.getoption("windtunnel_with") if name in GROUPS)
    query = parse_qs(urlsplit(admin.get(link).url or "").query)
    assert (query["group"], len(query["stream"])) == ([group], 1)


def test_a_task_that_runs_in_the_scheduler_has_no_link(run: DAGRunResponse, admin: Visitor) -> None:
    assert admin.links(Try(run.dag_id, run.dag_run_id, "elsewhere"))[NAME] is None


def text(admin: Visitor, link: str) -> str:
    page = admin.get(link)
    return page.data.decode() if page.status == 200 else ""
