from datetime import UTC, datetime
from typing import Any

import pytest

from windtunnel.airflow_api.client import AirflowApiError, AirflowClient, UnknownDag
from windtunnel.airflow_api.task_log import LogRecord
from windtunnel.compose.stack import ComposeStack
from windtunnel.waiting import WaitTimeout

from ..stand_ins.docker import Docker
from ..stand_ins.web_server import Server

RUN_PATH = "/api/v2/dags/demo-dag/dagRuns/run-1"
TASKS_PATH = f"{RUN_PATH}/taskInstances"


def run(state: str = "queued") -> dict[str, Any]:
    return {
        "dag_id": "demo-dag",
        "dag_display_name": "demo-dag",
        "dag_run_id": "run-1",
        "dag_versions": [],
        "run_after": "2026-01-01T00:00:00Z",
        "run_type": "manual",
        "state": state,
        "conf": {},
        "bundle_version": None,
    }


def task(state: str | None, try_number: int = 1) -> dict[str, Any]:
    return {
        "id": "01a1f962-57f8-75d1-9365-b8ff4f7a0750",
        "task_id": "demo-task",
        "task_display_name": "demo-task",
        "dag_id": "demo-dag",
        "dag_display_name": "demo-dag",
        "dag_run_id": "run-1",
        "dag_version": None,
        "map_index": -1,
        "run_after": "2026-01-01T00:00:00Z",
        "try_number": try_number,
        "max_tries": 1,
        "state": state,
        "pool": "default_pool",
        "pool_slots": 1,
        "executor_config": "{}",
        "rendered_fields": {},
        "operator": None,
        "operator_name": None,
        "hostname": None,
        "unixname": None,
        "priority_weight": 1,
        "queue": None,
        "pid": None,
        "executor": None,
        "note": None,
        "duration": None,
        "start_date": None,
        "end_date": None,
        "logical_date": None,
        "queued_when": None,
        "scheduled_when": None,
        "rendered_map_index": None,
        "trigger": None,
        "triggerer_job": None,
    }


@pytest.fixture
def airflow(server: Server) -> AirflowClient:
    return AirflowClient(server.address, "admin", "secret")


def test_it_logs_in_once_with_the_stacks_login(server: Server, compose: ComposeStack, docker: Docker) -> None:
    docker.answers("compose port webserver 8080", server.address.removeprefix("http://"))
    docker.answers(
        "compose exec --no-TTY webserver python -m windtunnel.services.answers login", '["admin", "secret"]'
    )
    server.answers("GET /api/v2/importErrors", {"import_errors": [], "total_entries": 0})
    airflow = AirflowClient.of(compose)

    assert airflow.import_errors() == []
    assert airflow.import_errors() == []

    logins = [body for request, body in server.requests if request == "POST /auth/token"]
    assert logins == [{"username": "admin", "password": "secret"}]


def test_a_refused_login_is_named_without_the_password(server: Server, airflow: AirflowClient) -> None:
    server.answers("POST /auth/token", {"detail": "no"}, status=401)

    with pytest.raises(AirflowApiError, match="refuses the login of admin: 401") as caught:
        airflow.dags()

    assert "secret" not in str(caught.value)


def test_no_answer_is_named_with_the_address(server: Server, airflow: AirflowClient) -> None:
    server.stop()

    with pytest.raises(AirflowApiError, match=f"no answer from {server.address}"):
        airflow.health()


def test_trigger_sends_the_conf_with_its_nulls(server: Server, airflow: AirflowClient) -> None:
    server.answers("POST /api/v2/dags/demo-dag/dagRuns", run())

    started = airflow.trigger("demo-dag", {"max_len": 1, "fails_at": None}, run_id="run-1")

    assert started.dag_run_id == "run-1"
    (body,) = [body for request, body in server.requests if request.endswith("/dagRuns")]
    assert body["conf"] == {"max_len": 1, "fails_at": None}
    assert body["dag_run_id"] == "run-1"
    assert body["logical_date"] is None


def test_an_unknown_dag_is_an_error_of_its_own(server: Server, airflow: AirflowClient) -> None:
    server.answers("POST /api/v2/dags/no/dagRuns", {"detail": "Dag with dag_id: 'no' not found"}, status=404)
    server.answers("PATCH /api/v2/dags/no", {"detail": "Dag with dag_id: 'no' was not found"}, status=404)

    with pytest.raises(UnknownDag, match="running the DAG no: 404 Dag with dag_id: 'no' not found"):
        airflow.trigger("no")
    with pytest.raises(UnknownDag, match="pausing the DAG no"):
        airflow.pause("no")


def test_another_404_is_not_an_unknown_dag(server: Server, airflow: AirflowClient) -> None:
    server.answers(f"GET {RUN_PATH}", {"detail": "The DagRun was not found"}, status=404)

    with pytest.raises(AirflowApiError) as caught:
        airflow.run("demo-dag", "run-1")

    assert not isinstance(caught.value, UnknownDag)


# Waiting


@pytest.fixture
def started(server: Server, airflow: AirflowClient) -> Any:
    server.answers("POST /api/v2/dags/demo-dag/dagRuns", run())
    return airflow.trigger("demo-dag")


def test_wait_reads_the_servers_stream(server: Server, airflow: AirflowClient, started: Any) -> None:
    stream = "".join(f'{{"state": "{state}"}}\n' for state in ("queued", "running", "running", "failed"))
    server.answers(f"GET {RUN_PATH}/wait", stream)
    server.answers(f"GET {RUN_PATH}", run("failed"))

    assert airflow.wait(started, 5).state == "failed"
    assert len([request for request, _ in server.requests if request.startswith(f"GET {RUN_PATH}/wait")]) == 1


@pytest.mark.parametrize("stream", ["", '{"state": "running"}\n'], ids=["nothing", "cut off"])
def test_wait_asks_again_and_again_where_the_stream_ends_early(
    server: Server, airflow: AirflowClient, started: Any, stream: str
) -> None:
    server.answers(f"GET {RUN_PATH}/wait", stream)
    server.answers(f"GET {RUN_PATH}", run("running"), run("success"))

    assert airflow.wait(started, 5).state == "success"


def test_wait_does_without_the_stream(server: Server, airflow: AirflowClient, started: Any) -> None:
    server.answers(f"GET {RUN_PATH}/wait", {"detail": "gone"}, status=404)
    server.answers(f"GET {RUN_PATH}", run("success"))

    assert airflow.wait(started, 5).state == "success"


def test_wait_names_the_run_that_does_not_end(server: Server, airflow: AirflowClient, started: Any) -> None:
    server.answers(f"GET {RUN_PATH}/wait", {"detail": "gone"}, status=404)
    server.answers(f"GET {RUN_PATH}", run("running"))

    with pytest.raises(WaitTimeout, match=r"waited .* for the run run-1 of demo-dag to end"):
        airflow.wait(started, 0.1)


# Task logs


def test_task_log_keeps_what_a_record_carries(server: Server, airflow: AirflowClient, started: Any) -> None:
    content = [
        {"event": "::group::Log message source details"},
        {"event": "s3://bucket/attempt=2.log"},
        {"event": "::endgroup::"},
        {
            "timestamp": "2026-01-01T00:00:01.500000Z",
            "event": "step 0",
            "level": "warning",
            "logger": "lambda.airflow-test",
            "error_detail": [{"exc_type": "ValueError"}],
        },
        {"event": "a bare line"},
    ]
    server.answers(f"GET {TASKS_PATH}/demo-task/logs/2", {"content": content, "continuation_token": None})

    log = airflow.task_log(started, "demo-task", try_number=2)

    assert log.sources == ["s3://bucket/attempt=2.log"]
    moment = datetime(2026, 1, 1, 0, 0, 1, 500000, tzinfo=UTC)
    assert log.records == [
        LogRecord(moment, "warning", "step 0", "lambda.airflow-test"),
        LogRecord(None, "info", "a bare line", ""),
    ]
    assert log.records[0].fields == {"error_detail": [{"exc_type": "ValueError"}]}
    (request,) = [request for request, _ in server.requests if "/logs/" in request]
    assert "full_content=true" in request
    assert "map_index=-1" in request


def test_task_log_names_the_task_whose_log_is_not_there(
    server: Server, airflow: AirflowClient, started: Any
) -> None:
    server.answers(f"GET {TASKS_PATH}/no/logs/1", {"detail": "TaskInstance not found"}, status=404)

    with pytest.raises(
        AirflowApiError, match=r"the log of demo-dag\.no, try 1: 404 .*TaskInstance not found"
    ):
        airflow.task_log(started, "no")


def test_clear_runs_the_named_tasks_again(server: Server, airflow: AirflowClient, started: Any) -> None:
    server.answers(
        "POST /api/v2/dags/demo-dag/clearTaskInstances", {"task_instances": [], "total_entries": 0}
    )

    airflow.clear(started, "demo-task")

    (body,) = [body for request, body in server.requests if request.endswith("/clearTaskInstances")]
    assert body["task_ids"] == ["demo-task"]
    assert body["dag_run_id"] == "run-1"
    assert body["dry_run"] is False
    assert body["only_failed"] is False


def test_failures_are_the_ends_of_logs_and_what_scheduler_and_executor_noted(
    server: Server, airflow: AirflowClient, started: Any
) -> None:
    tasks = [task("failed", 2), {**task("success"), "task_id": "other"}]
    server.answers(f"GET {TASKS_PATH}", {"task_instances": tasks, "total_entries": 2})
    content = [{"event": f"line {number}"} for number in range(11)]
    server.answers(f"GET {TASKS_PATH}/demo-task/logs/2", {"content": content, "continuation_token": None})
    events = ["state mismatch", "failed", "ecs task submit failure", "running", "batch job failed"]
    noted = [
        {"event_log_id": number, "when": "2026-01-01T00:00:00Z", "event": event, "extra": f"why: {event}"}
        for number, event in enumerate(events)
    ]
    server.answers("GET /api/v2/eventLogs", {"event_logs": noted[::-1], "total_entries": len(noted)})

    assert airflow.failures(started) == [
        "demo-task, try 2, failed:",
        *(f"  line {number}" for number in range(1, 11)),
        "scheduler: why: state mismatch",
        "scheduler: why: ecs task submit failure",
        "scheduler: why: batch job failed",
    ]


def test_a_failed_task_without_a_log_is_named_with_the_reason(
    server: Server, airflow: AirflowClient, started: Any
) -> None:
    server.answers(f"GET {TASKS_PATH}", {"task_instances": [task("failed")], "total_entries": 1})
    server.answers(f"GET {TASKS_PATH}/demo-task/logs/1", {"detail": "gone"}, status=404)
    server.answers("GET /api/v2/eventLogs", {"event_logs": [], "total_entries": 0})

    (_, reason) = airflow.failures(started)

    assert "gone" in reason


def test_every_page_of_a_listing_is_read(airflow: AirflowClient, server: Server) -> None:
    def page(names: list[str]) -> dict[str, Any]:
        return {"import_errors": [import_error(name) for name in names], "total_entries": 3}

    server.answers("GET /api/v2/importErrors", page(["one.py", "two.py"]), page(["three.py"]))

    assert [error.filename for error in airflow.import_errors()] == ["one.py", "two.py", "three.py"]


def import_error(name: str) -> dict[str, Any]:
    return {
        "import_error_id": 1,
        "timestamp": "2026-01-01T00:00:00Z",
        "filename": name,
        "bundle_name": "dags-folder",
        "stack_trace": "no",
    }
