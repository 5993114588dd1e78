import json
from pathlib import Path

import pytest
from rich.console import Console

from windtunnel.compose.stack import ComposeStack
from windtunnel.diagnosis import ecs, held_up, sqs, status, unstarted
from windtunnel.seeding.functions import DEFAULTS
from windtunnel.stack.errors import Finding
from windtunnel.stack.service import Service

from ..stand_ins.docker import ALL_READY, Docker, answer_stack
from ..stand_ins.web_server import Server

DAG = {
    "dag_id": "demo-dag",
    "dag_display_name": "demo-dag",
    "is_paused": False,
    "is_stale": False,
    "relative_fileloc": "demo_dag.py",
    "fileloc": "/opt/airflow/dags/demo_dag.py",
    "description": None,
    "timetable_summary": None,
    "timetable_description": None,
    "timetable_partitioned": False,
    "timetable_periodic": True,
    "tags": [],
    "max_active_tasks": 16,
    "max_active_runs": 1,
    "max_consecutive_failed_dag_runs": 0,
    "has_task_concurrency_limits": False,
    "has_import_errors": False,
    "owners": ["airflow"],
    "is_backfillable": True,
    "file_token": "x",
    "bundle_name": None,
    "bundle_version": None,
    "last_parsed_time": None,
    "last_parse_duration": None,
    "last_expired": None,
    "next_dagrun_logical_date": None,
    "next_dagrun_data_interval_start": None,
    "next_dagrun_data_interval_end": None,
    "next_dagrun_run_after": None,
    "allowed_run_types": None,
}
IMPORT_ERROR = {
    "import_error_id": 1,
    "timestamp": "2026-01-01T00:00:00Z",
    "filename": "broken.py",
    "bundle_name": "dags-folder",
    "stack_trace": "Traceback …\nModuleNotFoundError: nosuch",
}


@pytest.fixture
def running(compose: ComposeStack, docker: Docker, server: Server) -> ComposeStack:
    """A healthy stack with one DAG and one function."""
    answer_stack(docker, ALL_READY)
    docker.answers("compose port", server.address.removeprefix("http://"))
    docker.answers(
        "compose exec --no-TTY webserver python -m windtunnel.services.answers login", '["admin", "secret"]'
    )
    server.answers("GET /api/v2/dags", {"dags": [DAG], "total_entries": 1})
    server.answers("GET /api/v2/importErrors", {"import_errors": [], "total_entries": 0})
    server.answers("GET /api/v2/plugins/importErrors", {"import_errors": [], "total_entries": 0})
    ask = "compose exec --no-TTY webserver python -m windtunnel.services.answers"
    docker.answers(f"{ask} slow_dag_files 5.0", "{}")
    docker.answers(
        "compose exec --no-TTY webserver python -m windtunnel.services.answers latest_runs 3",
        '{"demo-dag": ["success", "failed"]}',
    )
    docker.answers(
        "compose exec --no-TTY webserver python -m windtunnel.services.answers held_up",
        '{"slots": 4, "waiting": 0, "holders": []}',
    )
    server.answers("GET /2015-03-31/functions", {"Functions": [{"FunctionName": "good"}]})
    functions(server, "Active")
    in_use(server)
    return compose


def in_use(server: Server, *services: str) -> None:
    """Let these services of AWS have been called."""
    states = dict.fromkeys(("ecs", "batch", "sqs"), "available") | dict.fromkeys(services, "running")
    server.answers("GET /_localstack/health", {"services": states})


def functions(server: Server, state: str, **more: str) -> None:
    configuration = {"FunctionName": "good", "State": state, "Runtime": DEFAULTS["Runtime"], **more}
    server.answers("GET /2015-03-31/functions/good/configuration", configuration)


def shown(report: status.Report, pattern: str = "") -> str:
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        for section in status.sections(report, pattern):
            console.print(section)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def test_a_healthy_stack(running: ComposeStack, server: Server) -> None:
    report = status.Report.of(running)

    assert report.healthy
    text = shown(report)
    assert f"webserver   healthy  {server.address}" in text
    assert "demo-dag  active  latest runs: success, failed" in text
    assert "good  Active" in text


def test_an_import_error_is_unhealthy_and_shown_whole(running: ComposeStack, server: Server) -> None:
    server.answers("GET /api/v2/importErrors", {"import_errors": [IMPORT_ERROR], "total_entries": 1})

    report = status.Report.of(running)

    assert not report.healthy
    assert "Import error in broken.py" in shown(report)
    assert "ModuleNotFoundError: nosuch" in shown(report)


def test_a_function_that_is_not_active_is_unhealthy_and_its_reason_is_shown(
    running: ComposeStack, server: Server
) -> None:
    functions(server, "Failed", StateReason="no such runtime")

    report = status.Report.of(running)

    assert not report.healthy
    assert "good  Failed  no such runtime" in shown(report)


def test_a_function_whose_update_has_failed_is_unhealthy(running: ComposeStack, server: Server) -> None:
    functions(server, "Active", LastUpdateStatus="Failed", LastUpdateStatusReason="no such runtime")

    report = status.Report.of(running)

    assert not report.healthy
    assert "good  not updated  no such runtime" in shown(report)


def test_a_function_for_another_python_is_healthy_and_says_so(
    running: ComposeStack, server: Server, docker: Docker
) -> None:
    functions(server, "Active", Runtime="python3.9")
    docker.answers("compose exec --no-TTY localstack python", "python3.13")

    report = status.Report.of(running)

    assert report.healthy
    assert "good  Active  for python3.9, runs on python3.13" in shown(report)


def test_what_makes_starts_slower_is_shown_and_healthy(
    running: ComposeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Finding("the fork server does not work", "Its log: ./windtunnel logs fork-server")
    monkeypatch.setattr(running, "warnings", lambda: [slow])

    report = status.Report.of(running)

    assert report.healthy
    assert f"Warning: {slow.problem}\n  → {slow.remedy}" in shown(report)


def test_a_webserver_that_does_not_answer_is_part_of_the_report(
    running: ComposeStack, server: Server
) -> None:
    server.answers("POST /auth/token", {}, status=500)

    report = status.Report.of(running)

    assert not report.healthy
    assert "No answer from Airflow" in shown(report)
    assert report.functions == [("good", "Active", "")]


def test_a_service_that_is_not_ready_is_shown_with_its_reason() -> None:
    late = Service("scheduler", state="running", health="unhealthy", health_output="no heartbeat")
    report = status.Report([late])

    assert not report.healthy
    assert "scheduler  unhealthy  no heartbeat" in shown(report)


def test_how_often_a_service_has_ended_by_itself_is_shown_also_when_it_runs() -> None:
    services = [
        Service("scheduler", state="running", health="healthy", restarts=1),
        Service("webserver", state="running", health="healthy", restarts=12),
        Service("triggerer", state="running", health="healthy"),
    ]

    text = shown(status.Report(services))

    assert "scheduler  healthy  ended by itself, once" in text
    assert "webserver  healthy  ended by itself, 12 times" in text
    assert text.count("ended by itself") == 2


def test_a_stack_without_its_supervisord_is_shown_with_what_to_do() -> None:
    report = status.Report([Service("scheduler", state="unsupervised"), Service("webserver")])

    assert not report.healthy
    assert "scheduler  unsupervised" in shown(report)
    assert "supervisord was killed" in shown(report)
    assert "./windtunnel up" in shown(report)


def test_a_stack_that_does_not_run_is_not_healthy(compose: ComposeStack) -> None:
    report = status.Report.of(compose)

    assert not report.healthy
    assert shown(report) == "The stack does not run. Start it: ./windtunnel up"


def test_functions_are_known_by_name_and_a_broken_one_by_its_folder(
    compose: ComposeStack, checkout: Path
) -> None:
    (checkout / "lambdas/good/function.json").write_text('{"FunctionName": "better"}')
    (checkout / "lambdas/broken_one").mkdir()
    (checkout / "lambdas/airflow_relay").mkdir()

    assert status.function_folders(compose) == {"better": "good", "broken-one": "broken_one"}


# Files without a DAG


def answers_listed(docker: Docker, *files: str) -> None:
    """Let Airflow look at these files of the DAGs folder."""
    question = "python -m windtunnel.services.answers listed_dag_files"
    docker.answers(f"compose exec --no-TTY webserver {question}", json.dumps(files))


@pytest.fixture
def dags(checkout: Path) -> Path:
    """A DAGs folder in which every file but two makes a DAG."""
    folder = checkout / "dags"
    (folder / "sub").mkdir()
    (folder / "demo_dag.py").write_text("import helper\nfrom dags.sub import part\nDAG('demo-dag')\n")
    for name in ("helper", "nameless", "broken", "sub/part", "sub/ignored"):
        (folder / f"{name}.py").write_text("@dag()\ndef make(): ...\n")
    (folder / "no_python.py").write_text("syntax error")
    (folder / "makes_none.py").touch()
    return folder


@pytest.mark.usefixtures("dags")
def test_files_whose_dag_nobody_gets_are_named(running: ComposeStack, docker: Docker, server: Server) -> None:
    server.answers("GET /api/v2/importErrors", {"import_errors": [IMPORT_ERROR], "total_entries": 1})
    # As with `sub/.airflowignore`: only Airflow knows what it looks at.
    answers_listed(docker, "demo_dag.py", "helper.py", "nameless.py", "broken.py", "sub/part.py")

    report = status.Report.of(running)

    assert report.without_dag == ["nameless.py"]
    assert "No DAG comes of nameless.py: give it a name" in " ".join(shown(report).split())


def test_without_a_suspect_airflow_is_not_imported(
    running: ComposeStack, checkout: Path, docker: Docker
) -> None:
    (checkout / "dags/demo_dag.py").write_text("DAG('demo-dag')\n")

    assert status.Report.of(running).without_dag == []
    assert not [call for call in docker.calls if "listed_dag_files" in call]


def test_overlays_and_replicas_are_shown() -> None:
    workers = [Service("worker", state="running", health="healthy", replica=number) for number in (1, 2)]

    text = shown(status.Report(workers, "celery, worker=2"))

    assert "Services, with celery, worker=2" in text
    assert "worker-1" in text
    assert "worker-2" in text


# Many DAGs


def many(failed: int = 0) -> status.Report:
    """A report on 1,200 DAGs, of which two are paused and some have failed last."""
    dags = [
        (f"dag-{number:04}", number < 2, ["failed", "success"] if number < failed else ["success"])
        for number in range(1200)
    ]
    return status.Report([Service("webserver", state="running", health="healthy")], dags=dags)


def test_many_dags_are_counted_and_those_that_have_failed_are_listed() -> None:
    text = shown(many(failed=3))

    assert (
        "DAGs: 1,200, 2 of them paused, 3 failed last. Some by name: ./windtunnel status 'PATTERN*'" in text
    )
    assert [line.split()[0] for line in text.splitlines() if "latest runs" in line] == [
        "dag-0000",
        "dag-0001",
        "dag-0002",
    ]


def test_of_many_failed_dags_it_says_how_many_are_shown() -> None:
    text = shown(many(failed=100))

    assert "100 failed last; the first 30 of these" in text
    assert text.count("latest runs") == 30


def test_dags_are_listed_by_a_pattern() -> None:
    text = shown(many(), "dag-119?")

    assert "DAGs: 10 of 1,200 match dag-119?" in text
    assert text.count("latest runs") == 10


@pytest.mark.parametrize("proxy", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_neither_a_proxy_nor_a_profile_of_this_machine_is_used(
    running: ComposeStack, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv(proxy, "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_PROFILE", "not-there")

    report = status.Report.of(running)

    assert report.silent == {}
    assert [name for name, _, _ in report.functions] == ["good"]


def test_tasks_that_wait_for_a_slot_are_a_warning(
    running: ComposeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = Finding("2 tasks wait for a slot", "Set PARALLELISM to more slots")
    monkeypatch.setattr(held_up, "findings", lambda _: [waiting])

    report = status.Report.of(running)

    assert report.warnings == [waiting]
    assert report.healthy


# What services of AWS hold


def test_what_services_in_use_hold_is_listed_and_others_are_not_asked(
    running: ComposeStack, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_use(server, "ecs", "sqs")
    monkeypatch.setattr(unstarted, "of_services", lambda *_: [])
    monkeypatch.setattr(ecs, "rows", lambda _: iter([("airflow", "ACTIVE", "2 running [1]")]))
    monkeypatch.setattr(sqs, "rows", lambda _: iter([]))

    report = status.Report.of(running)

    assert report.healthy
    assert report.aws == {"ECS": [("airflow", "ACTIVE", "2 running [1]")], "SQS": []}
    text = shown(report)
    assert "ECS\n  airflow  ACTIVE  2 running [1]" in text
    assert "Batch" not in text
    assert "SQS" not in text


def test_a_task_that_failed_stands_below_its_cluster_and_is_no_reason_to_be_unhealthy() -> None:
    rows = [("airflow", "ACTIVE", "1 stopped"), ("  airflow:1", "failed", "18:05: exit code 1")]
    report = status.Report([Service("webserver", state="running", health="healthy")], aws={"ECS": rows})

    assert report.healthy
    assert "  airflow      ACTIVE  1 stopped\n    airflow:1  failed  18:05: exit code 1" in shown(report)


def test_a_service_of_aws_that_does_not_answer_is_part_of_the_report(
    running: ComposeStack, server: Server
) -> None:
    in_use(server, "sqs")
    server.answers("POST /", {"__type": "InternalFailure"}, status=500)

    report = status.Report.of(running)

    assert not report.healthy
    assert "No answer from SQS: An error occurred (InternalFailure)" in shown(report)


def test_what_keeps_tasks_from_beginning_is_a_warning(
    running: ComposeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = Finding("no agent asks for work", "./windtunnel up --with ecs-agent")
    monkeypatch.setattr(unstarted, "of_services", lambda *_: [waiting])

    report = status.Report.of(running)

    assert report.warnings == [waiting]
    assert report.healthy
