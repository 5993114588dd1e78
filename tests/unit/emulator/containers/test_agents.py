"""What agents are told and tell, by HTTP."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from localstack.http import Request, Router
from localstack.http.dispatcher import handler_dispatcher

from windtunnel_emulator.containers import agents
from windtunnel_emulator.containers.secrets import SecretError
from windtunnel_emulator.containers.work import Work, WorkQueue

ASKED = {"images": ["it"], "held": [], "timeout": 0}


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkQueue]:
    queue = WorkQueue()
    monkeypatch.setattr(agents, "queue", lambda: queue)
    monkeypatch.setattr(agents, "secrets_of", lambda _: {})
    yield queue
    queue.close()


def call(method: str, path: str = "", content: dict[str, Any] | None = None) -> tuple[int, Any]:
    router: Router[Any] = Router(dispatcher=handler_dispatcher())
    agents.add_routes(router)
    url = f"/_windtunnel/agents/{path}".removesuffix("/")
    answer = router.dispatch(Request(method, url, body=json.dumps(content)))
    return answer.status_code, json.loads(answer.get_data())


def some_work(**more: Any) -> Work:
    container = {"name": "main", "image": "it", "environment": {"A": "1"}, "secrets": []}
    return Work("one", "ecs", "0", "here", [container], **more)


def test_an_agent_is_told_what_to_start(queue: WorkQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "secrets_of", lambda _: {"main": {"S": "secret"}})
    queue.add(some_work(memory=64, cpu=256, about={"arn": "it"}))
    status, answer = call("POST", "airflow/poll", ASKED)

    assert status == 200
    assert answer["stop"] == []
    ordered = answer["start"][0]
    assert (ordered["id"], ordered["memory"], ordered["cpu"]) == ("one", 64, 256)
    assert ordered["task"] == {"arn": "it"}
    assert ordered["containers"][0]["environment"] == {"A": "1", "S": "secret"}


def test_values_of_secrets_are_kept_nowhere(queue: WorkQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "secrets_of", lambda _: {"main": {"S": "secret"}})
    queue.add(some_work())
    call("POST", "airflow/poll", ASKED)

    work = queue.find("one")
    assert work
    assert work.containers[0]["environment"] == {"A": "1"}


def test_work_without_its_secrets_does_not_start(queue: WorkQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Work) -> None:
        raise SecretError("no such secret")

    monkeypatch.setattr(agents, "secrets_of", fail)
    queue.add(some_work())

    assert call("POST", "airflow/poll", ASKED)[1] == {"start": [], "stop": []}
    work = queue.find("one")
    assert work
    assert (work.state["code"], work.state["reason"]) == ("TaskFailedToStart", "no such secret")


def test_an_agent_may_be_an_instance(queue: WorkQueue) -> None:
    instance = {"cluster": "default", "cpu": 1024, "memory": 64}
    call("POST", "airflow/poll", {**ASKED, "instance": instance})

    assert queue.agents()["airflow"].instance == instance


def test_a_report_of_unknown_work_is_answered_so(queue: WorkQueue) -> None:
    queue.add(some_work())
    state = {"status": "RUNNING", "containers": {}}

    assert call("PUT", "airflow/work/one", state)[0] == 200
    assert call("PUT", "airflow/work/two", state)[0] == 404
    work = queue.find("one")
    assert work
    assert work.state["status"] == "RUNNING"


def test_work_that_nobody_knows_is_to_be_stopped_until_the_agent_stops_it(queue: WorkQueue) -> None:
    asked = {**ASKED, "held": ["two"]}
    _, answer = call("POST", "airflow/poll", asked)

    assert [one["id"] for one in answer["stop"]] == ["two"]
    assert call("POST", "airflow/poll", {**asked, "stopping": ["two"]})[1]["stop"] == []


def test_an_agent_is_to_ask_later_while_localstack_ends(queue: WorkQueue) -> None:
    queue.add(some_work())
    queue.end_questions()

    assert call("POST", "airflow/poll", ASKED)[0] == 503


def test_the_agents_of_the_last_minute_are_listed(queue: WorkQueue) -> None:
    assert call("GET") == (200, {})

    call("POST", "airflow/poll", ASKED)

    status, answer = call("GET")
    assert (status, list(answer), answer["airflow"]["images"]) == (200, ["airflow"], ["it"])
    assert 0 <= answer["airflow"]["seen"] < 30
