from typing import Any

import pytest
from botocore.exceptions import ClientError

from windtunnel.compose.stack import ComposeStack
from windtunnel.diagnosis import batch, ecs, unstarted
from windtunnel.stack.errors import Finding, StackError

from ..stand_ins.docker import ALL_READY, Docker, answer_stack
from ..stand_ins.web_server import Server


@pytest.fixture
def running(
    compose: ComposeStack, docker: Docker, server: Server, monkeypatch: pytest.MonkeyPatch
) -> ComposeStack:
    """A stack with ECS and Batch in use, in which nothing is and no agent asks."""
    answer_stack(docker, ALL_READY)
    docker.answers("compose port", server.address.removeprefix("http://"))
    in_use(server, "ecs", "batch")
    agents(server)
    for service in (ecs, batch):
        monkeypatch.setattr(service, "waiting", lambda _: None)
    for name in ("stuck", "disabled"):
        monkeypatch.setattr(batch, name, lambda *_: [])
    return compose


def in_use(server: Server, *services: str) -> None:
    states = {"ecs": "available", "batch": "available"} | dict.fromkeys(services, "running")
    server.answers("GET /_localstack/health", {"services": states})


def agents(server: Server, **seen: float) -> None:
    """Let these agents have asked so many seconds ago."""
    server.answers(
        "GET /_windtunnel/agents", {name: {"images": [], "seen": ago} for name, ago in seen.items()}
    )


@pytest.mark.parametrize(
    ("tasks", "jobs", "problem"),
    [
        (1, None, "1 task of ECS waits for one"),
        (2, 0, "2 tasks of ECS wait for one"),
        (1200, 1, "1,200 tasks of ECS and 1 job of Batch wait for one"),
        (0, 0, "tasks of ECS and jobs of Batch would wait for one"),
    ],
)
def test_who_waits_is_said_while_no_agent_asks(
    running: ComposeStack, monkeypatch: pytest.MonkeyPatch, tasks: int | None, jobs: int | None, problem: str
) -> None:
    monkeypatch.setattr(ecs, "waiting", lambda _: tasks)
    monkeypatch.setattr(batch, "waiting", lambda _: jobs)

    (found,) = unstarted.findings(running)

    assert found == Finding(f"no agent asks for work: {problem}", "./windtunnel up --with ecs-agent")


@pytest.mark.parametrize(("ago", "is_found"), [(20.0, False), (31.0, True)])
def test_an_agent_that_has_not_asked_lately_is_none(
    running: ComposeStack, server: Server, monkeypatch: pytest.MonkeyPatch, ago: float, is_found: bool
) -> None:
    monkeypatch.setattr(ecs, "waiting", lambda _: 1)
    agents(server, airflow=ago)

    assert bool(unstarted.findings(running)) == is_found


def test_the_log_of_an_agent_that_is_there_is_the_remedy(
    running: ComposeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ecs, "waiting", lambda _: 1)
    monkeypatch.setitem(running.configuration["services"], "ecs-agent", {})

    (found,) = unstarted.findings(running)

    assert "./windtunnel logs ecs-agent" in found.remedy


def test_without_tasks_and_jobs_no_agent_is_missed(running: ComposeStack) -> None:
    assert unstarted.findings(running) == []


def test_a_service_that_is_not_in_use_is_not_asked(
    running: ComposeStack, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_use(server)
    for service in (ecs, batch):
        monkeypatch.setattr(service, "waiting", lambda _: pytest.fail("it is asked"))

    assert unstarted.findings(running) == []
    assert server.requests == [("GET /_localstack/health", {})]


def test_what_keeps_jobs_in_a_queue_is_found_though_an_agent_asks(
    running: ComposeStack, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents(server, airflow=1.0)
    stuck = Finding("the job cannot begin", "end it")
    names = []

    def disabled(_: Any, name: str) -> list[Finding]:
        names.append(name)
        return []

    environment = {unstarted.QUEUE_SETTING: "mine"}
    monkeypatch.setitem(running.configuration["services"]["scheduler"], "environment", environment)
    monkeypatch.setattr(batch, "waiting", lambda _: 0)
    monkeypatch.setattr(batch, "stuck", lambda _: [stuck])
    monkeypatch.setattr(batch, "disabled", disabled)

    assert unstarted.findings(running) == [stuck]
    assert names == ["mine"]


def test_nothing_is_asked_while_localstack_does_not_run(compose: ComposeStack, server: Server) -> None:
    assert unstarted.findings(compose) == []
    assert server.requests == []


def test_a_refusal_of_aws_is_an_error_of_the_stack(
    running: ComposeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any) -> None:
        raise ClientError({"Error": {"Code": "ServerException", "Message": "no"}}, "ListClusters")

    monkeypatch.setattr(ecs, "waiting", refuse)

    with pytest.raises(StackError, match="ServerException"):
        unstarted.findings(running)
