"""What the harness adds: a run through the fixture ``run_dag`` beside the same run through ``curl``."""

import json
import statistics
import subprocess
import time
from pathlib import Path

from benchmarks.report import Report
from windtunnel.engine import Engine
from windtunnel.testing import Stack
from windtunnel.waiters import wait_until

DAGS = Path(__file__).parent / "dags" / "bench_empty.py"
LAMBDAS = Path(__file__).parent / "lambdas"
DAG_ID = "bench-empty"
TIMES = 15


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


def measure(stack: Engine, report: Report) -> None:
    """Start the stack; then the same run in both ways, by turns."""
    stack.up()
    harness = Stack(stack)
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
