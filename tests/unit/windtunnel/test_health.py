import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from windtunnel import health, seeding

from .conftest import Server


class Database:
    """Stands in for the metadata database: one answer, and what it was asked."""

    def __init__(self, answer: list[tuple[object, ...]] | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Any]] = []

    def connect(self, *_: object, **__: object) -> "Database":
        if isinstance(self.answer, Exception):
            raise self.answer
        return self

    def cursor(self) -> "Database":
        return self

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, statement: str, parameters: Any) -> None:
        self.asked.append((statement, parameters))

    def fetchall(self) -> Any:
        return self.answer


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Database]:
    monkeypatch.setattr("windtunnel.stack.database_dsn", lambda: "postgresql://")

    def answer(value: list[tuple[object, ...]] | Exception) -> Database:
        database = Database(value)
        monkeypatch.setattr(psycopg2, "connect", database.connect)
        return database

    return answer


PROBES = [
    (health.scheduler, "SchedulerJob"),
    (health.triggerer, "TriggererJob"),
]


@pytest.mark.parametrize(("probe", "job"), PROBES)
def test_a_fresh_heartbeat_of_this_very_container_is_healthy(
    database: Callable[..., Database], probe: Callable[[], None], job: str
) -> None:
    asked = database([(3.0,)]).asked

    probe()

    ((statement, parameters),) = asked
    assert parameters[0] == job
    assert re.search(r"hostname = %s.*start_date >=", statement)


@pytest.mark.parametrize(("probe", "job"), PROBES)
def test_an_old_heartbeat_and_none_are_not(
    database: Callable[..., Database], probe: Callable[[], None], job: str
) -> None:
    database([(health.FRESH + 1.0,)])
    with pytest.raises(health.Unhealthy, match=f"the last heartbeat of the {job} is 31 s old"):
        probe()

    database([(None,)])
    with pytest.raises(health.Unhealthy, match=f"no {job} of this container"):
        probe()


def test_a_database_that_does_not_answer_is_named(database: Callable[..., Database]) -> None:
    database(psycopg2.OperationalError("refused"))

    with pytest.raises(health.Unhealthy, match="cannot ask the metadata database: refused") as caught:
        health.scheduler()

    assert not isinstance(caught.value, health.Broken), "waiting may help"


def test_import_errors_are_named_and_nothing_that_waiting_helps_against(
    database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_heartbeat", lambda _: None)
    database([("a.py", "Traceback …\nNameError: x"), ("b.py", "Traceback …\nValueError: y\n")])

    with pytest.raises(health.Broken, match=r"a\.py: NameError: x; b\.py: ValueError: y"):
        health.dag_processor()

    database([])
    health.dag_processor()


# LocalStack


@pytest.fixture
def localstack(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    monkeypatch.setattr(seeding, "STATE", tmp_path / "state.json")
    get = health._get
    monkeypatch.setattr(
        health,
        "_get",
        lambda address: get(address.replace("127.0.0.1:4566", server.address.removeprefix("http://"))),
    )
    return server


def scripts(state: str, *, completed: bool = True) -> dict[str, Any]:
    return {"completed": completed, "scripts": [{"name": "seed.py", "state": state}]}


def test_localstack_is_healthy_once_seeded(localstack: Server) -> None:
    localstack.answers("GET /_localstack/init/ready", scripts("SUCCESSFUL"))

    health.localstack()


def test_localstack_is_not_while_it_seeds_and_that_may_take_time(localstack: Server) -> None:
    localstack.answers("GET /_localstack/init/ready", scripts("RUNNING", completed=False))

    with pytest.raises(health.Unhealthy, match="still seeding") as caught:
        health.localstack()

    assert not isinstance(caught.value, health.Broken)


def test_failed_seeding_is_named_and_definite(localstack: Server, tmp_path: Path) -> None:
    localstack.answers("GET /_localstack/init/ready", scripts("ERROR"))
    with pytest.raises(health.Broken, match=r"seeding failed in seed\.py"):
        health.localstack()

    localstack.answers("GET /_localstack/init/ready", scripts("SUCCESSFUL"))
    (tmp_path / "state.json").write_text(json.dumps({"one": "has no handler"}))
    with pytest.raises(health.Broken, match="one: has no handler"):
        health.localstack()


def test_no_answer_and_a_wrong_answer_are_named(localstack: Server) -> None:
    localstack.answers("GET /_localstack/init/ready", {}, status=500)
    with pytest.raises(health.Unhealthy, match="answers 500"):
        health.localstack()

    localstack.stop()
    with pytest.raises(health.Unhealthy, match="no answer from"):
        health.localstack()
