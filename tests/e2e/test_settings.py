"""What a repository's own .env and plugins are to a running stack; tests/support.py has the .env."""

import os
import subprocess
import sys
from typing import Any

import pytest
from airflow_client import client as rest

from tests.support import StackUnderTest
from windtunnel import RunningStack
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.diagnosis.status import Report
from windtunnel.stack.settings import ROOT
from windtunnel.waiting import wait_until

DEAD = "http://127.0.0.1:1"


def test_a_task_sees_what_env_sets_and_a_dag_uses_a_timetable_of_a_plugin(windtunnel: RunningStack) -> None:
    run = windtunnel.run_dag("test-settings")

    assert run.state == "success", run
    seen = run.task("settings").xcom()
    assert seen["variable"] == {"price": "$5 # each"}
    assert seen["connection"][1] == "p@ss"
    assert seen["connection"][0] in ("postgres", "127.0.0.1")
    assert seen["option"] == 31
    assert seen["own"] == "two words\nand a line"
    # And yet the task has reached Airflow and S3.
    assert seen["proxy"] == DEAD


@pytest.mark.parametrize("service", ["webserver", "scheduler", "dag-processor", "triggerer"])
def test_each_of_airflows_services_has_them(airflow_stack: StackUnderTest, service: str) -> None:
    command = ("python", "-c", "import os; print(os.environ['NAME_OF_MY_OWN'])")
    assert airflow_stack.stack.exec(service, *command) == "two words\nand a line\n"


def test_the_forks_of_the_fork_server_are_not_refused(airflow_stack: StackUnderTest) -> None:
    assert airflow_stack.stack.warnings() == []


def test_status_names_what_came_from_env_and_shows_no_value(airflow_stack: StackUnderTest) -> None:
    report = Report.of(airflow_stack.stack)

    assert report.plugin_errors == []
    assert report.silent == {}
    assert report.given == [
        "AIRFLOW_CONN_OF_ENV",
        "AIRFLOW_VAR_OF_ENV",
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH",
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD",
        "AIRFLOW__CORE__MAX_NUM_RENDERED_TI_FIELDS_PER_TASK",
        "AIRFLOW__CORE__XCOM_BACKEND",
        "ALL_PROXY",
        "NAME_OF_MY_OWN",
    ]


def test_ours_is_there_beside_the_users_plugin(airflow: AirflowClient) -> None:
    answer = airflow.ask("listing plugins", rest.PluginApi(airflow.api).get_plugins)
    assert {"every_year", "cloudwatch_logs"} <= {one.name for one in answer.plugins}


def test_no_command_goes_through_a_proxy(
    airflow_stack: StackUnderTest, windtunnel_settings: dict[str, str]
) -> None:
    stack = airflow_stack.stack
    own = {"HTTP_PROXY": DEAD, "http_proxy": DEAD, "ALL_PROXY": DEAD, "PYTHONPATH": str(ROOT / "src")}
    place = {"COMPOSE_PROJECT_NAME": stack.project, "WINDTUNNEL_ENGINE": stack.engine}
    without = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    for arguments in (["status"], ["run", "test-settings", "--follow"]):
        answer = subprocess.run(
            [sys.executable, "-m", "windtunnel", *arguments],
            env={**without, **windtunnel_settings, **place, **own},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        # Another test may have broken a DAG or a function just now.
        assert answer.returncode == 0 or arguments == ["status"], answer.stdout + answer.stderr
        assert "No answer" not in answer.stdout


def test_no_fixture_goes_through_a_proxy(windtunnel: RunningStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", DEAD)
    monkeypatch.delenv("NO_PROXY", raising=False)
    fresh: Any = RunningStack(windtunnel.stack)

    assert fresh.run_dag("test-settings").state == "success"
    fresh.aws("s3").list_buckets()


def test_a_slow_dag_file_is_named(airflow_stack: StackUnderTest) -> None:
    file = airflow_stack.dags / "slow_dag.py"
    text = "from airflow.sdk import DAG\ndag = DAG('test-slow')\nimport time\ntime.sleep(5.5)\n"
    try:
        file.write_text(text)

        def slow() -> float:
            return Report.of(airflow_stack.stack).slow_files.get("slow_dag.py", 0)

        took = wait_until("status to name the slow file", slow, timeout=40)
        assert took > 5
    finally:
        file.unlink()
