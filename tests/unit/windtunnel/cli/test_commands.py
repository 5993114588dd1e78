import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from windtunnel.cli import commands, follow, output
from windtunnel.compose.stack import ComposeStack
from windtunnel.dev import commands as dev_commands
from windtunnel.dev import suite, tools
from windtunnel.diagnosis import held_up, unstarted
from windtunnel.local.stack import ProcessStack
from windtunnel.release import releasing
from windtunnel.release.bucket import Bucket
from windtunnel.stack import choose, following
from windtunnel.stack.errors import Finding, StackError
from windtunnel.stack.scaling import Bounds
from windtunnel.stack.settings import ROOT

from ..airflow_api.test_client import RUN_PATH, TASKS_PATH, run, task
from ..conftest import change
from ..diagnosis.test_status import DAG, IMPORT_ERROR, answers_listed, running
from ..release.a_bucket import Objects
from ..stand_ins.docker import ALL_READY, CONFIGURATION, Docker, answer_stack, container, done
from ..stand_ins.web_server import Server
from .test_follow import log, tasks

# The fixture of a healthy stack with one DAG and one function.
__all__ = ["dev_commands", "running"]


@pytest.fixture(autouse=True)
def _this_checkout(compose: ComposeStack, local: ProcessStack, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, stack in ((ComposeStack, compose), (ProcessStack, local)):
        monkeypatch.setattr(choose, kind.__name__, lambda *_, stack=stack, **__: stack)
        monkeypatch.setitem(choose.ENGINES, kind.engine, lambda *_, stack=stack, **__: stack)


def windtunnel(*arguments: str) -> Result:
    return CliRunner().invoke(commands.app, arguments)


def test_help_everywhere_with_examples() -> None:
    ours = ("up", "down", "scale", "status", "logs", "run", "deploy", "release", "doctor")
    for verb in (*ours, "test", "check", "bench"):
        result = windtunnel(verb, "--help")
        assert result.exit_code == 0
        assert f"./windtunnel {verb}" in result.stdout, verb
    assert windtunnel("nonsense").exit_code == 2


# scale


def test_replicas_of_a_running_stack(
    running: ComposeStack, docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    services: Any = CONFIGURATION["services"]
    services = {**services, "scheduler": {**services["scheduler"], "restart": "unless-stopped"}}
    monkeypatch.setattr(ComposeStack, "configuration", {**CONFIGURATION, "services": services})
    docker.answers("compose up", "")

    result = windtunnel("scale", "scheduler=2")

    assert result.exit_code == 0, result.output
    command = "compose up --detach --no-build --remove-orphans --scale=scheduler=2 --no-deps scheduler"
    assert command in docker.calls


@pytest.mark.bad_input(80)
@pytest.mark.parametrize(
    ("replicas", "said"),
    [
        ("worker=-1", "Write SERVICE=N, with N from 0 on"),
        ("wroker=1", "there is no service wroker to scale"),
        ("webserver=2", "only one webserver can run"),
    ],
)
def test_what_cannot_be_scaled_is_refused(
    running: ComposeStack, docker: Docker, replicas: str, said: str
) -> None:
    result = windtunnel("scale", replicas)

    assert result.exit_code == 2
    assert said in result.output
    assert not [call for call in docker.calls if call.startswith("compose up")]


def test_a_stack_that_does_not_run_is_not_scaled(compose: ComposeStack, docker: Docker) -> None:
    answer_stack(docker, [])

    result = windtunnel("scale", "scheduler=2")

    assert result.exit_code == 2
    assert "the stack does not run" in result.output


def test_a_worker_follows_its_queue_and_each_decision_is_a_line(
    running: ComposeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def follow(*arguments: Any) -> Iterator[str]:
        asked.extend(arguments[1:])
        yield "one line"
        raise KeyboardInterrupt

    monkeypatch.setattr(following, "follow", follow)

    result = windtunnel("scale", "worker=1..4", "--cooldown", "2")

    assert result.exit_code == 130
    assert "one line" in result.output
    assert "interrupted" in result.output
    assert asked == [Bounds("worker", 1, 4), output.say, 2]


@pytest.mark.bad_input(82)
@pytest.mark.parametrize("replicas", ["worker=4..1", "worker=0..x"])
def test_what_is_no_range_is_refused(running: ComposeStack, docker: Docker, replicas: str) -> None:
    result = windtunnel("scale", replicas)

    assert result.exit_code == 2
    assert "MIN..MAX" in result.output
    assert docker.calls == []


# up


@pytest.fixture
def startable(running: ComposeStack, docker: Docker) -> ComposeStack:
    docker.answers("image inspect", "sha256:1")
    docker.answers("compose --progress plain build", "#7 [airflow 2/3] RUN it\n#7 DONE 12.0s\n")
    docker.answers("compose up", "")
    docker.answers(
        "compose exec --no-TTY webserver python -m windtunnel.services.answers known_dag_files",
        '["demo_dag.py"]',
    )
    answer_stack(docker, [], [], ALL_READY)
    return running


def test_up_ends_with_address_login_and_what_next(startable: ComposeStack, server: Server) -> None:
    result = windtunnel("up")

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("engine: compose (a Docker Engine answers)\n")
    assert "[airflow 2/3] RUN it 12.0 s" in result.stdout
    assert "scheduler      healthy" in result.stdout
    assert server.address in result.stdout
    assert "user admin, password secret" in result.stdout
    assert "./windtunnel run demo-dag --follow" in result.stdout


def test_up_names_files_that_make_a_dag_and_give_it_to_nobody(
    startable: ComposeStack, checkout: Path, docker: Docker
) -> None:
    for name in ("nameless.py", "demo_dag.py"):
        (checkout / "dags" / name).write_text("DAG('one')\n")
    answers_listed(docker, "nameless.py", "demo_dag.py")

    output = windtunnel("up").output

    assert "no DAG comes of dags/nameless.py: give it a name" in " ".join(output.split())
    assert "dags/demo_dag.py" not in output


def test_up_builds_only_when_asked(startable: ComposeStack, docker: Docker) -> None:
    assert windtunnel("up", "--no-build").exit_code == 0
    assert not any("build" in call.split() for call in docker.calls)


@pytest.mark.parametrize("arguments", [("--engine", "local"), ()])
def test_up_without_docker_uses_the_local_engine(
    local: ProcessStack,
    server: Server,
    docker: Docker,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    docker.answers("version", code=1)
    installed: list[str] = []
    monkeypatch.setattr(local.venvs, "install", lambda _: installed.append("all"))
    monkeypatch.setattr(local, "up", lambda say: say("scheduler      healthy"))
    monkeypatch.setattr(local, "login", lambda: ("admin", "secret"))
    monkeypatch.setattr(local, "ask", lambda *_: [])
    monkeypatch.setattr(local, "address", lambda service: f"address of {service}")

    result = windtunnel("up", *arguments)

    assert result.exit_code == 0, result.output
    reason = "--engine says so" if arguments else "no Docker Engine answers"
    assert result.stdout.startswith(f"engine: local ({reason})\nscheduler      healthy\n")
    assert "address of webserver" in result.stdout
    assert installed == ["all"]
    assert not any(call.startswith("compose up") for call in docker.calls)


def test_an_engine_that_is_none_is_refused() -> None:
    for verb in ("up", "down", "status", "logs", "deploy", "doctor", "test", "check", "bench"):
        result = windtunnel(verb, "--engine", "podman")
        assert result.exit_code == output.REFUSED, verb
        assert "--engine is 'podman'\n  → There are: compose, local." in result.stderr


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("WEBSERVER_PORT", "abc", "WEBSERVER_PORT is 'abc'"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE", "looks like a real key"),
        ("DAGS_FOLDER", "/nowhere", "the folder /nowhere is not there"),
    ],
)
def test_up_refuses_before_anything_starts(
    startable: ComposeStack, docker: Docker, name: str, value: str, problem: str
) -> None:
    change(startable, **{name: value})

    result = windtunnel("up")

    assert result.exit_code == output.REFUSED
    assert problem in result.stderr
    assert "→" in result.stderr
    assert not any(call.startswith(("compose up", "compose --progress")) for call in docker.calls)


def test_up_names_a_dag_file_that_cannot_be_imported(startable: ComposeStack, docker: Docker) -> None:
    docker.answers("compose config", json.dumps(with_dag_processor(startable)))
    startable.__dict__.pop("configuration", None)
    said = "DAG files with import errors: broken.py: ModuleNotFoundError: nosuch"
    probe = {"Start": "12:01", "ExitCode": 3, "Output": said}
    answer_stack(docker, [], [*ALL_READY, container("dag-processor", health="starting", probe=probe)])

    result = windtunnel("up")

    assert result.exit_code == output.FAILED
    assert f"dag-processor is not healthy: {said}" in result.stderr
    assert "it is read again within 2 s" in result.stderr


def with_dag_processor(compose: ComposeStack) -> dict[str, Any]:
    services = {**compose.configuration["services"], "dag-processor": {"image": "tunnel-airflow"}}
    return {**compose.configuration, "services": services}


def test_up_shows_the_end_of_the_log_of_what_failed(startable: ComposeStack, docker: Docker) -> None:
    answer_stack(docker, [], [done("init", exit_code=2)])

    result = windtunnel("up")

    assert result.exit_code == output.FAILED
    assert "init ended with exit code 2" in result.stderr
    assert "│ the last line" in result.stderr
    assert "./windtunnel logs init" in result.stderr


def test_ctrl_c_says_what_runs_on(startable: ComposeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(startable, "up", interrupted)

    result = windtunnel("up")

    assert result.exit_code == output.INTERRUPTED
    assert "stop it with ./windtunnel down" in result.stderr


# down, status, logs, deploy


def test_down_keeps_the_data_unless_told_otherwise(docker: Docker) -> None:
    docker.answers("compose down", "")

    assert "kept are the database, the S3 buckets and the task logs" in windtunnel("down").stdout
    assert "its data deleted" in windtunnel("down", "--volumes").stdout
    assert [call for call in docker.calls if "down" in call] == [
        "compose down --remove-orphans",
        "compose down --remove-orphans --volumes --timeout 0",
    ]


def test_status_exits_1_where_something_is_wrong(running: ComposeStack, server: Server) -> None:
    assert windtunnel("status").exit_code == 0

    server.answers("GET /api/v2/importErrors", {"import_errors": [IMPORT_ERROR], "total_entries": 1})
    assert windtunnel("status").exit_code == output.FAILED


def test_logs(docker: Docker) -> None:
    docker.answers("compose logs", "\x1b[2Kscheduler-1  | a line\n")

    result = windtunnel("logs", "scheduler", "--tail", "5")

    assert result.stdout == "scheduler-1  | a line\n"
    assert docker.calls[-1] == "compose logs --tail 5 scheduler"


def test_unknown_names_are_refused_with_those_there_are(running: ComposeStack) -> None:
    for arguments, hint in (
        (("logs", "shceduler"), "Did you mean scheduler? There are: init, localstack"),
        (("deploy", "goood"), "Did you mean good? There are: good"),
        (("run", "demo-dga"), "Did you mean demo-dag? There are: demo-dag"),
        (("test", "units"), "Did you mean unit? There are: compose, e2e, faults, stack, unit"),
    ):
        result = windtunnel(*arguments)
        assert result.exit_code == output.REFUSED, arguments
        assert hint in result.stderr


@pytest.mark.parametrize(("arguments", "asked"), [((), ""), (("better",), " good"), (("good",), " good")])
def test_deploy_asks_localstack_to(
    running: ComposeStack, docker: Docker, checkout: Path, arguments: tuple[str, ...], asked: str
) -> None:
    """By the folder, as a function whose file is broken is known by nothing else."""
    (checkout / "lambdas/good/function.json").write_text('{"FunctionName": "better"}')
    docker.answers("compose exec --no-TTY localstack python -m windtunnel.seeding", "seeding: deployed\n")

    result = windtunnel("deploy", *arguments)

    assert result.exit_code == 0, result.output
    assert result.stdout == "seeding: deployed\n"
    assert docker.calls[-1].endswith(f"windtunnel.seeding{asked}")


def test_deploy_says_once_what_is_wrong(running: ComposeStack, docker: Docker) -> None:
    command = "compose exec --no-TTY localstack python -m windtunnel.seeding"
    docker.answers(command, "seeding: good has no handler\n", code=1)

    result = windtunnel("deploy", "good")

    assert result.exit_code == output.FAILED
    assert result.output.count("good has no handler") == 1
    assert "Correct the file" in result.stderr


def test_a_release_is_put_there_becomes_current_and_is_awaited(
    running: ComposeStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    objects = Objects()
    waited: list[tuple[str, list[str]]] = []

    def put(_stack: Any, bucket: Any, folder: Path, _say: Any) -> tuple[str, list[str]]:
        assert folder == tmp_path
        bucket.add("one", b"zip")
        return "one", ["a.py"]

    def wait(_stack: Any, _bucket: Any, version: str, files: list[str]) -> list[str]:
        waited.append((version, files))
        return ["late.py"] if files else []

    monkeypatch.setattr(Bucket, "of", lambda _: objects.bucket)
    monkeypatch.setattr(releasing, "put", put)
    monkeypatch.setattr(releasing, "await_airflow", wait)
    monkeypatch.setattr(ComposeStack, "is_running", lambda *_: True)

    released = windtunnel("release", str(tmp_path))
    back = windtunnel("release", "--to", "one")
    listed = windtunnel("release", "--list")
    unknown = windtunnel("release", "--to", "two")

    assert "release one is current\nAirflow has it; not parsed yet: late.py. Runs" in released.stdout
    assert (back.exit_code, waited) == (0, [("one", ["a.py"]), ("one", [])])
    assert re.fullmatch(r"one  2026-01-0\d \d\d:00:00  current\n", listed.stdout)
    assert (unknown.exit_code, "There are: one" in unknown.output) == (2, True)


def test_what_wants_a_running_stack_is_refused_without_one(docker: Docker) -> None:
    for arguments in (("run", "demo-dag"), ("deploy",), ("release",)):
        result = windtunnel(*arguments)
        assert result.exit_code == output.REFUSED
        assert "./windtunnel up" in result.stderr


# run


@pytest.fixture
def runnable(running: ComposeStack, server: Server) -> ComposeStack:
    server.answers("POST /api/v2/dags/demo-dag/dagRuns", run())
    server.answers(f"GET {TASKS_PATH}", tasks(task("running")))
    lines = log("1 step")
    lines["content"].insert(0, {"event": "::group::Pre Execute"})
    lines["content"].append(
        {
            "event": "Task failed",
            "level": "error",
            "error_detail": [{"exc_type": "ValueError", "exc_value": "bad"}],
        }
    )
    server.answers(f"GET {TASKS_PATH}/demo-task/logs/1", lines)
    return running


@pytest.mark.parametrize(("state", "code"), [("success", 0), ("failed", 1)])
def test_run_follows_to_the_end(runnable: ComposeStack, server: Server, state: str, code: int) -> None:
    server.answers(f"GET {RUN_PATH}", run("running"), run(state))

    result = windtunnel("run", "demo-dag", "--conf", '{"max_len": 3}', "--follow")

    assert result.exit_code == code, result.output
    assert "── demo-task, try 1" in result.stdout
    assert "1 step" in result.stdout
    assert "ValueError: bad" in result.stdout
    assert "::group::" not in result.stdout
    assert result.stdout.endswith(f"── run {state}\n")
    assert [body["conf"] for request, body in server.requests if request.endswith("/dagRuns")] == [
        {"max_len": 3}
    ]


def test_run_says_what_its_tasks_wait_for(
    runnable: ComposeStack, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as that can be found out; the run goes on."""

    def does_not_answer(stack: object) -> list[Finding]:
        raise StackError("the webserver does not answer")

    monkeypatch.setattr(follow, "QUEUED_FOR", 0.0)
    monkeypatch.setattr(held_up, "findings", does_not_answer)
    found = Finding("1 task of ECS waits", "Start an agent")
    monkeypatch.setattr(unstarted, "findings", lambda stack: [found])
    server.answers(f"GET {TASKS_PATH}", tasks(task("queued")))
    server.answers(f"GET {RUN_PATH}", run("running"), run("success"))

    result = windtunnel("run", "demo-dag", "--follow")

    assert result.exit_code == 0
    assert "── 1 task of ECS waits\n   Start an agent\n" in result.stdout


def test_run_of_a_dag_that_is_not_there_names_files_that_cannot_be_imported(
    runnable: ComposeStack, server: Server
) -> None:
    error = {**IMPORT_ERROR, "filename": "mine.py"}
    server.answers("GET /api/v2/importErrors", {"import_errors": [error], "total_entries": 1})

    result = windtunnel("run", "mine")

    assert result.exit_code == output.REFUSED
    assert "mine.py cannot be imported, so its DAGs are not there" in result.stderr
    assert "there is no DAG mine" in result.stderr


def test_run_without_follow_only_starts_it(runnable: ComposeStack, server: Server) -> None:
    result = windtunnel("run", "demo-dag")

    assert result.exit_code == 0
    assert result.stdout == f"run run-1: {server.address}/dags/demo-dag/runs/run-1\n"


@pytest.mark.parametrize(
    ("conf", "problem"),
    [
        ('{"a":}', "--conf is not JSON: Expecting value at line 1, column 6"),
        ("[1]", "--conf must be a JSON object, not list"),
        ("null", "--conf must be a JSON object, not NoneType"),
    ],
)
def test_run_refuses_what_is_no_conf(runnable: ComposeStack, server: Server, conf: str, problem: str) -> None:
    result = windtunnel("run", "demo-dag", "--conf", conf)

    assert result.exit_code == output.REFUSED
    assert problem in result.stderr
    assert server.requests == []


def test_run_refuses_a_paused_dag(runnable: ComposeStack, server: Server) -> None:
    server.answers("GET /api/v2/dags", {"dags": [{**DAG, "is_paused": True}], "total_entries": 1})

    result = windtunnel("run", "demo-dag")

    assert result.exit_code == output.REFUSED
    assert "demo-dag is paused" in result.stderr


# doctor, test, check, bench


def test_doctor_names_each_finding_with_its_remedy(running: ComposeStack, docker: Docker) -> None:
    docker.answers("version", code=1)

    result = windtunnel("doctor", "--engine", "compose")

    assert result.exit_code == output.FAILED
    assert "found: no Docker Engine answers\n  → Install Docker Engine 25" in result.stdout


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, docker: Docker) -> dict[str, int]:
    """Exit codes by floor; what is there to run is a shell that ends with it."""
    codes: dict[str, int] = {}
    docker.answers("image inspect", "sha256:1")
    docker.answers("compose --progress plain build", "")
    docker.answers("build", "")
    monkeypatch.setattr(tools, "get_browser", lambda *_: None)
    monkeypatch.setattr(tools, "install", lambda _: None)

    def steps_of(compose: ComposeStack, floor: str, arguments: list[str], rare: bool) -> list[suite.Step]:
        return [suite.Step(floor, ["sh", "-c", f"exit {codes.get(floor, 0)}"])]

    monkeypatch.setattr(suite, "test_steps", steps_of)
    return codes


def test_test_runs_all_floors_and_ends_with_a_line_for_each(steps: dict[str, int]) -> None:
    steps["stack"] = 3

    result = windtunnel("test")

    assert result.exit_code == output.FAILED
    lines = [line.split()[:2] for line in result.stdout.splitlines()[-len(suite.FLOORS) :]]
    assert lines == [[name, "failed" if name == "stack" else "ok"] for name in suite.FLOORS]


def test_test_runs_one_floor(steps: dict[str, int]) -> None:
    steps["e2e"] = 1

    result = windtunnel("test", "unit")

    assert result.exit_code == 0
    assert "e2e" not in result.stdout


def test_bench_runs_the_benchmarks_with_its_arguments(
    steps: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []

    def call(command: list[str], **_: Any) -> int:
        called.append(command)
        return 1

    monkeypatch.setattr(subprocess, "call", call)

    result = windtunnel("bench", "operator", "--", "--save")

    assert result.exit_code == output.FAILED
    ((_, *module, part, option),) = called
    assert (part, option) == ("operator", "--save")
    assert module[0] == "-m"
    assert importlib.util.find_spec(module[1])


def test_the_checkout_is_the_one_this_code_lies_in() -> None:
    assert (ROOT / "src/windtunnel/cli/commands.py").samefile(commands.__file__)
