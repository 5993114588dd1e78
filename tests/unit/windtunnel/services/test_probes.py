import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from windtunnel.seeding import account
from windtunnel.services import probes
from windtunnel.stack.service import Service

from ..stand_ins.database import Database
from ..stand_ins.web_server import Server

Probe = Callable[[Mapping[str, str], float], None]

PROBES = [(probes.PROBES["scheduler"], "SchedulerJob"), (probes.PROBES["triggerer"], "TriggererJob")]


@pytest.mark.parametrize(("probe", "job"), PROBES)
def test_a_fresh_heartbeat_of_this_very_start_is_healthy(
    database: Callable[..., Database], probe: Probe, job: str
) -> None:
    asked = database([(3.0,)]).asked

    probe({}, 1700000000.0)

    ((statement, parameters),) = asked
    assert re.search(r"job_type = %s .*hostname = %s .*start_date >= to_timestamp\(%s\)", statement)
    assert parameters == (job, socket.gethostname(), 1700000000.0)


@pytest.mark.parametrize(("probe", "job"), PROBES)
def test_an_old_heartbeat_and_none_are_not(database: Callable[..., Database], probe: Probe, job: str) -> None:
    database([(probes.FRESH + 1.0,)])
    with pytest.raises(probes.Unhealthy, match=f"the last heartbeat of the {job} is 31 s old"):
        probe({}, 0.0)

    database([(None,)])
    with pytest.raises(probes.Unhealthy, match=f"its {job} has not started yet"):
        probe({}, 0.0)


def test_a_database_that_does_not_answer_is_named(database: Callable[..., Database]) -> None:
    database(psycopg2.OperationalError("refused"))

    with pytest.raises(probes.Unhealthy, match="cannot ask the metadata database: refused") as caught:
        probes.PROBES["scheduler"]({}, 0.0)

    assert not isinstance(caught.value, probes.Broken), "waiting may help"


def test_import_errors_are_named_and_nothing_that_waiting_helps_against(
    database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: list[str] = []
    monkeypatch.setattr(probes, "_heartbeat", lambda _environment, job, _started: beats.append(job))
    database([("a.py", "Traceback …\nNameError: x"), ("b.py", "Traceback …\nValueError: y\n")])

    with pytest.raises(probes.Broken, match=r"a\.py: NameError: x; b\.py: ValueError: y"):
        probes.dag_processor({}, 0.0)
    assert beats == [], "there is nothing to wait for"

    database([])
    probes.dag_processor({}, 0.0)
    assert beats == ["DagProcessorJob"]


def test_the_databases_own_probe_says_that_it_takes_connections(database: Callable[..., Database]) -> None:
    asked = database([(1,)]).asked
    probes.postgres({}, 0.0)
    assert asked

    database(psycopg2.OperationalError("starting up"))
    with pytest.raises(probes.Unhealthy, match="starting up"):
        probes.postgres({}, 0.0)


def test_before_the_secrets_are_made_the_database_cannot_be_asked(tmp_path: Path) -> None:
    environment = {"SECRETS_FOLDER": str(tmp_path), "POSTGRES_ADDRESS": "127.0.0.1:1"}

    with pytest.raises(probes.Unhealthy, match=r"cannot ask the metadata database: .*postgres_password"):
        probes.postgres(environment, 0.0)


# The webserver


@pytest.fixture
def webserver(server: Server) -> Server:
    server.answers("GET /api/v2/version", {"version": "3"})
    server.answers("GET /execution/health", {"status": "healthy"})
    return server


def at(server: Server) -> dict[str, str]:
    """The environment of a webserver that is there."""
    return {"AIRFLOW__API__PORT": server.address.rpartition(":")[2]}


def test_a_webserver_answers_users_and_tasks(webserver: Server) -> None:
    probes.webserver(at(webserver), 0.0)

    assert [request for request, _ in webserver.requests] == [
        "GET /api/v2/version",
        "GET /execution/health",
    ]


@pytest.mark.parametrize("path", ["/api/v2/version", "/execution/health"])
def test_a_webserver_without_one_of_its_interfaces_is_not_healthy(webserver: Server, path: str) -> None:
    webserver.answers(f"GET {path}", {}, status=503)

    with pytest.raises(probes.Unhealthy, match=f"{path} answers 503"):
        probes.webserver(at(webserver), 0.0)


# LocalStack


@pytest.fixture
def localstack(server: Server, tmp_path: Path) -> dict[str, str]:
    """Its environment, with the server in its place."""
    return {"AWS_ENDPOINT_URL": server.address, "TMPDIR": str(tmp_path)}


def scripts(state: str, *, completed: bool = True) -> dict[str, Any]:
    return {"completed": completed, "scripts": [{"name": "seed.py", "state": state}]}


def test_localstack_is_healthy_once_seeded(localstack: dict[str, str], server: Server) -> None:
    server.answers("GET /_localstack/init/ready", scripts("SUCCESSFUL"))

    probes.localstack(localstack, 0.0)


def test_localstack_is_not_while_it_seeds_and_that_may_take_time(
    localstack: dict[str, str], server: Server
) -> None:
    server.answers("GET /_localstack/init/ready", scripts("RUNNING", completed=False))

    with pytest.raises(probes.Unhealthy, match=r"^still seeding$") as caught:
        probes.localstack(localstack, 0.0)

    assert not isinstance(caught.value, probes.Broken)


def test_localstack_says_what_it_installs(
    localstack: dict[str, str], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers("GET /_localstack/init/ready", scripts("RUNNING", completed=False))
    monkeypatch.setenv("TMPDIR", localstack["TMPDIR"])
    account.report("installing lambdas/one/requirements.txt")

    with pytest.raises(probes.Unhealthy) as caught:
        probes.localstack(localstack, 0.0)

    starting = Service("localstack", state="running", health="starting", health_output=str(caught.value))
    assert starting.progress == "installing lambdas/one/requirements.txt"
    assert replace(starting, health_output="still seeding").progress == "starting"
    assert replace(starting, health="healthy").progress == "healthy"


def test_failed_seeding_is_named_and_definite(localstack: dict[str, str], server: Server) -> None:
    server.answers("GET /_localstack/init/ready", scripts("ERROR"))
    with pytest.raises(probes.Broken, match=r"seeding failed in seed\.py"):
        probes.localstack(localstack, 0.0)

    server.answers("GET /_localstack/init/ready", scripts("SUCCESSFUL"))
    account.file(localstack).write_text(json.dumps({"failures": {"one": "has no handler"}, "deployed": {}}))
    with pytest.raises(probes.Broken, match="one: has no handler"):
        probes.localstack(localstack, 0.0)


def test_no_answer_and_a_wrong_answer_are_named(localstack: dict[str, str], server: Server) -> None:
    server.answers("GET /_localstack/init/ready", {}, status=500)
    with pytest.raises(probes.Unhealthy, match="answers 500"):
        probes.localstack(localstack, 0.0)

    server.stop()
    with pytest.raises(probes.Unhealthy, match="no answer from"):
        probes.localstack(localstack, 0.0)


# As a container's health check


@pytest.mark.parametrize(
    ("raised", "code"),
    [(None, 0), (probes.Unhealthy("not yet"), 1), (probes.Broken("correct it"), probes.DEFINITE)],
)
def test_the_exit_code_says_whether_waiting_may_help(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: probes.Unhealthy | None,
    code: int,
) -> None:
    def probe(environment: Mapping[str, str], started: float) -> None:
        assert environment is os.environ
        assert started <= time.time()
        if raised:
            raise raised

    monkeypatch.setitem(probes.PROBES, "scheduler", probe)
    monkeypatch.setattr(sys, "argv", ["health", "scheduler"])

    try:
        probes.main()
        ended = 0
    except SystemExit as end:
        ended = int(end.code or 0)

    assert ended == code
    assert capsys.readouterr().err == (f"{raised}\n" if raised else "")


def test_a_service_may_wait_for_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [probes.Unhealthy("not yet"), None]

    def probe(environment: Mapping[str, str], started: float) -> None:
        if outcome := outcomes.pop(0):
            raise outcome

    monkeypatch.setattr(probes, "seeded", probe)
    monkeypatch.setattr(sys, "argv", ["probes.py", "seeded", "--wait"])

    probes.main()

    assert outcomes == []


def test_waiting_ends_when_it_cannot_help(monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(environment: Mapping[str, str], started: float) -> None:
        raise probes.Broken("correct it")

    monkeypatch.setattr(probes, "seeded", probe)
    monkeypatch.setattr(sys, "argv", ["probes.py", "seeded", "--wait"])

    with pytest.raises(SystemExit) as end:
        probes.main()

    assert end.value.code == probes.DEFINITE


def test_a_worker_of_celery_is_healthy_while_sqs_answers_it(tmp_path: Path) -> None:
    variables, beat = {"TMPDIR": str(tmp_path)}, tmp_path / "celery-heartbeat"
    probe = probes.PROBES["celery-worker"]
    with pytest.raises(probes.Unhealthy, match="it has not reached SQS yet"):
        probe(variables, 0.0)

    beat.touch()
    probe(variables, 0.0)

    long_ago = time.time() - probes.FRESH - 1
    os.utime(beat, (long_ago, long_ago))
    with pytest.raises(probes.Unhealthy, match="the last answer of SQS is 31 s old"):
        probe(variables, 0.0)
