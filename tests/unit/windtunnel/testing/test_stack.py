from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from windtunnel.airflow_api.client import AirflowApiError, AirflowClient, UnknownDag
from windtunnel.compose.stack import ComposeStack
from windtunnel.testing.stack import RunningStack

from ..airflow_api.test_client import RUN_PATH, TASKS_PATH, run, task
from ..stand_ins.web_server import Server

# What the API tells of a pool, beside what it was made with.
POOL = {"slots": 2, "include_deferred": False} | dict.fromkeys(
    ("occupied_slots", "running_slots", "queued_slots", "scheduled_slots", "open_slots", "deferred_slots"), 0
)
XCOM_PATH = f"{TASKS_PATH}/demo-task/xcomEntries/return_value"


@pytest.fixture
def stack(server: Server, compose: ComposeStack, monkeypatch: pytest.MonkeyPatch) -> RunningStack:
    stack = RunningStack(compose)
    monkeypatch.setattr(RunningStack, "airflow", AirflowClient(server.address, "admin", "secret"))
    return stack


@pytest.fixture
def ended(server: Server) -> None:
    """A run of the demo that fails in its second try."""
    server.answers("POST /api/v2/dags/demo-dag/dagRuns", run())
    server.answers(f"GET {RUN_PATH}", run("failed"))
    server.answers(f"GET {RUN_PATH}/wait", '{"state": "failed"}\n')
    server.answers(f"GET {TASKS_PATH}", {"task_instances": [task("failed", 2)], "total_entries": 1})
    server.answers("GET /api/v2/eventLogs", {"event_logs": [], "total_entries": 0})
    log = {"content": [{"event": "it broke"}], "continuation_token": None}
    server.answers(f"GET {TASKS_PATH}/demo-task/logs/2", log)


@pytest.mark.usefixtures("ended")
def test_a_run_is_awaited_and_says_why_it_failed(stack: RunningStack, server: Server) -> None:
    found = stack.run_dag("demo-dag", {"a": 1}, logical_date=datetime(2026, 1, 1, tzinfo=UTC))

    assert (found.dag_id, found.run_id, found.state) == ("demo-dag", "run-1", "failed")
    asked = next(
        body for request, body in server.requests if request.startswith("POST /api/v2/dags/demo-dag")
    )
    assert (asked["conf"], asked["logical_date"]) == ({"a": 1}, "2026-01-01T00:00:00+00:00")
    assert "it broke" in repr(found)
    assert [known.dag_run_id for known in stack.runs] == ["run-1"]


@pytest.mark.usefixtures("ended")
def test_a_task_has_its_state_and_the_log_of_its_latest_try(stack: RunningStack) -> None:
    found = stack.run_dag("demo-dag").task("demo-task")

    assert (found.state, found.try_number, found.log()) == ("failed", 2, "it broke")


@pytest.mark.usefixtures("ended")
def test_an_unknown_task_is_named_with_those_that_there_are(stack: RunningStack) -> None:
    with pytest.raises(KeyError, match=r"'other', map index -1; there are .*demo-task failed"):
        stack.run_dag("demo-dag").task("other")


@pytest.mark.usefixtures("ended")
def test_an_xcom_is_a_value_of_python(stack: RunningStack, server: Server) -> None:
    server.answers(f"GET {XCOM_PATH}", {"key": "return_value", "value": {"words": [1, 2]}})

    assert stack.run_dag("demo-dag").task("demo-task").xcom() == {"words": [1, 2]}


@pytest.mark.usefixtures("ended")
def test_an_xcom_that_is_not_there_is_named(stack: RunningStack, server: Server) -> None:
    server.answers(f"GET {XCOM_PATH}", {"detail": "XCom entry not found"}, status=404)

    with pytest.raises(AirflowApiError, match=r"return_value of demo-dag\.demo-task: 404 .*not found"):
        stack.run_dag("demo-dag").task("demo-task").xcom()


@pytest.mark.parametrize(
    ("kind", "arguments", "path", "posted"),
    [
        (
            "connection",
            {"connection_id": "mine", "conn_type": "http", "host": "x"},
            "connections",
            {"connection_id": "mine", "conn_type": "http", "host": "x"},
        ),
        (
            "connection",
            {"connection_id": "mine", "conn_type": "aws", "extra": {"region_name": "eu-west-1"}},
            "connections",
            {"connection_id": "mine", "conn_type": "aws", "extra": '{"region_name": "eu-west-1"}'},
        ),
        ("variable", {"key": "mine", "value": [1]}, "variables", {"key": "mine", "value": "[1]"}),
        ("pool", {"name": "mine", "slots": 2}, "pools", {"name": "mine", "slots": 2}),
    ],
)
def test_what_tasks_look_up_is_there_during_the_block(
    stack: RunningStack,
    server: Server,
    kind: str,
    arguments: dict[str, Any],
    path: str,
    posted: dict[str, Any],
) -> None:
    server.answers(f"GET /api/v2/{path}/mine", {"detail": "no such"}, status=404)
    server.answers(f"POST /api/v2/{path}", POOL | posted | {"is_encrypted": False}, status=201)
    server.answers(f"DELETE /api/v2/{path}/mine", "", status=204)

    with pytest.raises(ZeroDivisionError), getattr(stack, kind)(**arguments):
        raise ZeroDivisionError

    requests = changes(server, path)
    assert [request for request, _ in requests] == [f"POST /api/v2/{path}", f"DELETE /api/v2/{path}/mine"]
    assert posted.items() <= requests[0][1].items()


@pytest.fixture
def asked(stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What the scheduler is asked."""
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(stack.stack, "ask", lambda *question: asked.append(question))
    return asked


@pytest.mark.parametrize(
    ("kind", "arguments", "name"),
    [
        ("connection", {"connection_id": "mine", "conn_type": "http", "password": "secret"}, "connection_id"),
        ("variable", {"key": "mine", "value": "secret"}, "key"),
    ],
)
@pytest.mark.parametrize("refused", [False, True])
def test_what_was_there_before_waits_under_another_name(
    stack: RunningStack,
    server: Server,
    asked: list[tuple[str, ...]],
    kind: str,
    arguments: dict[str, Any],
    name: str,
    refused: bool,
) -> None:
    path = f"{kind}s"
    server.answers(f"GET /api/v2/{path}/mine", arguments | {"is_encrypted": False})
    server.answers(
        f"POST /api/v2/{path}", arguments | {"is_encrypted": False}, status=422 if refused else 201
    )
    server.answers(f"DELETE /api/v2/{path}/", {"detail": "it has another name"}, status=404)

    with pytest.raises(AirflowApiError if refused else ZeroDivisionError), getattr(stack, kind)(**arguments):
        raise ZeroDivisionError

    requests = changes(server, path)
    new = requests[0][1][name]
    kept = new.removesuffix("new") + "kept"
    assert new.startswith("mine.windtunnel.")
    if refused:
        # Nothing was touched.
        assert (asked, len(requests)) == ([], 1)
        return
    question = ("scheduler", "rename", kind)
    # A process list shows what is asked, so no value is part of it.
    assert asked == [(*question, "mine", kept, new, "mine"), (*question, kept, "mine")]
    assert [request for request, _ in requests][1:] == [f"DELETE /api/v2/{path}/{new}"]


def test_a_pool_that_is_there_gets_its_slots_back(stack: RunningStack, server: Server) -> None:
    server.answers("GET /api/v2/pools/mine", POOL | {"name": "mine", "slots": 128})
    server.answers("PATCH /api/v2/pools/mine", POOL | {"name": "mine", "slots": 1})

    with stack.pool("mine", 1):
        pass

    assert [(request, body["slots"]) for request, body in changes(server, "pools")] == [
        ("PATCH /api/v2/pools/mine", 1),
        ("PATCH /api/v2/pools/mine", 128),
    ]


def test_a_test_that_fails_is_shown_by_its_own_line(stack: RunningStack, server: Server) -> None:
    reason = "Dag with dag_id: 'demo-dga' was not found"
    server.answers("POST /api/v2/dags/demo-dga/dagRuns", {"detail": reason}, status=404)
    server.answers("GET /api/v2/dags", {"dags": [], "total_entries": 0})

    with pytest.raises(UnknownDag) as caught:
        stack.run_dag("demo-dga")

    assert [entry.path for entry in caught.traceback.filter(caught)] == [Path(__file__)]
    assert caught.value.__suppress_context__


def changes(server: Server, path: str) -> list[tuple[str, Any]]:
    """The requests that ask for a change below a path, without their queries."""
    return [
        (request.partition("?")[0], body)
        for request, body in server.requests
        if f"/{path}" in request and not request.startswith("GET ")
    ]


def test_a_field_that_connections_do_not_have_is_refused(stack: RunningStack, server: Server) -> None:
    with (
        pytest.raises(TypeError, match=r"no hots; there are: .*host"),
        stack.connection("a", "http", hots="x"),
    ):
        pass

    assert server.requests == []
