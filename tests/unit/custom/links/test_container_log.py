"""Which tries of a task have a link to a container's log; the rows are in tables of Airflow's own."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from airflow.models.taskinstancekey import TaskInstanceKey

from custom.links.container_log import ContainerLogLink, TaskTry, links, task_try
from custom.plugins.cloudwatch_logs import CloudWatchLogsPlugin
from tests.unit.airflow_executors import configure_executors
from tests.unit.custom.airflow_tables import ARN, QUEUED, TASK, Tables, opened

ECS = "ecs:custom.executors.aws_ecs_executor.AwsEcsExecutor"
BATCH = "batch:custom.executors.aws_batch_executor.AwsBatchExecutor"
LAMBDA = "lambda:custom.executors.aws_lambda_executor.AwsLambdaExecutor"
LOCAL = "local:custom.executors.deferral_aware_local_executor.DeferralAwareLocalExecutor"
CELERY = "airflow.providers.celery.executors.celery_executor.CeleryExecutor"

FIRST, SECOND = UUID(int=1), UUID(int=2)


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tables]:
    with opened(monkeypatch) as tables:
        yield tables


@pytest.fixture(autouse=True)
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give Airflow other executors than those for ECS and on this machine."""

    def configure(*executors: str) -> None:
        configure_executors(monkeypatch, ",".join(executors))

    configure(ECS, LOCAL)
    return configure


def shown(try_number: int = 1, map_index: int = -1) -> UUID | None:
    """The task instance whose container the link of a try leads to; None without a link."""
    link: Any = ContainerLogLink()
    key = TaskInstanceKey(**TASK, try_number=try_number, map_index=map_index)
    url = urlsplit(link.get_link(None, ti_key=key))
    assert (url.scheme, url.netloc) == ("", "")
    assert url.path in ("cloudwatch/container-log", "")
    (found,) = parse_qs(url.query).get("task_instance", [None])
    return UUID(found) if found else None


def test_a_try_that_a_container_runs_has_a_link(tables: Tables) -> None:
    config = {"taskDefinition": "mine"}
    tables.current(FIRST, executor_config=config)

    assert shown() == FIRST
    assert task_try(FIRST) == TaskTry(FIRST, "AwsEcsExecutor", ARN, config, QUEUED)


@pytest.mark.parametrize(("name", "class_name"), [(BATCH, "AwsBatchExecutor"), (LAMBDA, "AwsLambdaExecutor")])
def test_so_it_is_with_other_executors_of_aws(
    tables: Tables, configure: Callable[..., None], name: str, class_name: str
) -> None:
    configure(LOCAL, name)
    tables.current(FIRST, executor=name.partition(":")[0], external="one")
    tables.current(SECOND, task_id="other", external="two")

    found = task_try(FIRST)

    assert found is not None
    assert (found.executor, found.external_executor_id) == (class_name, "one")
    assert task_try(SECOND) is None, "it runs on the default, which is this machine"


@pytest.mark.parametrize(
    "columns",
    [{"executor": "local", "external": "1"}, {"external": None}, {"executor": "batch", "external": "1"}],
    ids=["in the scheduler", "not started", "executor of another stack"],
)
def test_without_a_container_there_is_none(tables: Tables, columns: dict[str, Any]) -> None:
    tables.current(FIRST, **columns)

    assert shown() is None
    assert task_try(FIRST) is None


def test_each_try_has_its_own(tables: Tables) -> None:
    tables.old(FIRST, 1, f"{ARN}-1")
    tables.current(SECOND, 2, f"{ARN}-2")

    assert (shown(1), shown(2), shown(3)) == (FIRST, SECOND, None)
    for id, number in ((FIRST, 1), (SECOND, 2)):
        found = task_try(id)
        assert found is not None
        assert found.external_executor_id == f"{ARN}-{number}"


def test_before_the_next_try_begins_the_id_of_the_last_one_counts(tables: Tables) -> None:
    """Airflow gives the task instance a new id as soon as a try fails; the container knows the old one."""
    tables.old(FIRST, 1)
    tables.current(SECOND, 1)

    assert shown(1) == FIRST


def test_a_try_that_is_queued_does_not_show_the_container_of_the_one_before(tables: Tables) -> None:
    tables.old(FIRST, 1)
    tables.current(SECOND, 2)

    assert (shown(1), shown(2)) == (FIRST, None)


def test_each_mapped_task_has_its_own(tables: Tables) -> None:
    tables.current(FIRST, map_index=0)
    tables.current(SECOND, map_index=1, external=f"{ARN}-1")

    assert (shown(map_index=0), shown(map_index=1), shown()) == (FIRST, SECOND, None)


def test_an_unknown_task_instance_has_no_container(tables: Tables) -> None:
    assert task_try(FIRST) is None


@pytest.mark.parametrize(
    ("names", "names_of_links"),
    [
        ((LOCAL.partition(":")[2],), []),
        ((CELERY,), []),
        ((ECS, LOCAL), ["Container log"]),
        ((LOCAL, BATCH), ["Container log"]),
        ((LAMBDA,), ["Container log"]),
    ],
)
def test_only_an_airflow_with_such_an_executor_has_the_link(
    configure: Callable[..., None], names: list[str], names_of_links: list[str]
) -> None:
    configure(*names)

    assert [link.name for link in links()] == names_of_links
    assert [link.name for link in CloudWatchLogsPlugin().global_operator_extra_links] == names_of_links
