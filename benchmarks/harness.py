"""What the harness takes: ``run_dag`` beside ``curl``, and a second session on a kept stack."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Report
from windtunnel.stack.base import Stack
from windtunnel.stack.settings import ROOT, STATE_FOLDER
from windtunnel.testing.stack import RunningStack
from windtunnel.waiting import wait_until

DAGS = Path(__file__).parent / "dags" / "bench_empty.py"
LAMBDAS = Path(__file__).parent / "lambdas"
DAG_ID = "bench-empty"
TIMES = 15
EXAMPLE = ROOT / "examples" / "hourly_summary"
SESSIONS = 5


def curl(*arguments: str) -> dict[str, str]:
    """What a request is answered with."""
    command = ["curl", "--silent", "--show-error", "--fail", "--header", "Content-Type: application/json"]
    done = subprocess.run([*command, *arguments], capture_output=True, check=True)  # noqa: S603
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


def by_curl(address: str, token: str) -> None:
    """Trigger a run and ask for its state ten times a second until it has ended."""
    header = f"Authorization: Bearer {token}"
    runs = f"{address}/api/v2/dags/{DAG_ID}/dagRuns"
    run = curl("--header", header, "--data", '{"logical_date": null}', runs)["dag_run_id"]

    def ended() -> bool:
        return curl("--header", header, f"{runs}/{run}")["state"] == "success"

    wait_until(f"the run {run}", ended, timeout=60)


def measure(stack: Stack, report: Report) -> None:
    """Start the stack; then the same run in both ways, by turns."""
    stack.up()
    harness = RunningStack(stack)
    address, (user, password) = stack.address("webserver"), stack.login()
    login = json.dumps({"username": user, "password": password})
    token = curl("--data", login, f"{address}/auth/token")["access_token"]
    harness.run_dag(DAG_ID)
    seconds: dict[str, list[float]] = {"curl": [], "run_dag": []}
    for _ in range(TIMES):
        for name, run in (
            ("curl", lambda: by_curl(address, token)),
            ("run_dag", lambda: harness.run_dag(DAG_ID)),
        ):
            start = time.monotonic()
            run()
            seconds[name].append(time.monotonic() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    report.add(f"a run of an empty DAG by curl, median of {TIMES}", medians["curl"], "s")
    report.add(f"the same by run_dag, median of {TIMES}", medians["run_dag"], "s")
    report.add("what run_dag adds", medians["run_dag"] - medians["curl"], "s", 0.3)


def measure_sessions(stack: Stack, report: Report) -> None:
    """One test of the example, again and again on the stack that its first session has left.

    :param engine: another stack, whose engine is taken, and which must not run meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="windtunnel-") as folder:
        # Services have users of their own.
        Path(folder).chmod(0o755)
        repository = Path(shutil.copytree(EXAMPLE, Path(folder) / "repository"))
        # The checkout's: installing them is not what is measured.
        (repository / STATE_FOLDER).mkdir()
        (repository / STATE_FOLDER / "venvs").symlink_to(ROOT / STATE_FOLDER / "venvs")

        def session(*arguments: str) -> float:
            command = [sys.executable, "-m", "pytest", "-p", "windtunnel.pytest_plugin", *arguments]
            environment = {
                **os.environ,
                "PYTHONPATH": str(ROOT / "src"),
                "WINDTUNNEL_IMAGE": stack.settings.get("WINDTUNNEL_IMAGE"),
                # Compiled once, as an installed package is.
                "PYTHONDONTWRITEBYTECODE": "",
                "PYTHONPYCACHEPREFIX": f"{folder}/pycache",
            }
            start = time.monotonic()
            done = subprocess.run(  # noqa: S603
                [*command, "--windtunnel-engine", stack.engine],
                cwd=repository,
                env=environment,
                capture_output=True,
                text=True,
            )
            seconds = time.monotonic() - start
            if done.returncode:
                raise RuntimeError(f"a session has failed:\n{done.stdout}{done.stderr}")
            return seconds

        try:
            session("tests/test_first.py", "--windtunnel-reuse")
            seconds = [session("tests/test_first.py", "--windtunnel-reuse") for _ in range(SESSIONS)]
        finally:
            session("--windtunnel-stop")
    report.add(f"one test again on a kept stack, slowest of {SESSIONS}", max(seconds), "s", 5)
