"""Measures what the README claims, on a stack of its own, and prints it beside the bars.

Run by ``./windtunnel bench``. Nothing here is a test: a slow machine shows slow figures.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from windtunnel.airflow_api import AirflowClient
from windtunnel.compose import ROOT, Compose
from windtunnel.waiters import wait_until

# Two benchmarks do not meet, nor do two checkouts.
PROJECT = f"windtunnel-bench-{os.getpid()}"
QUICK = {"max_len": 1, "interval": 0, "fails_at": None}
RESULTS = Path(__file__).parent / "results.json"

# Runs in a container beside LocalStack: calls as a task makes them, over the stack's network.
LAMBDA_PROBE = """
import base64, boto3, json, sys, time
client = boto3.client("lambda")
def call():
    start = time.perf_counter()
    answer = client.invoke(FunctionName="airflow-test", Payload=sys.argv[1], LogType="Tail")
    answer["Payload"].read()
    seconds = time.perf_counter() - start
    assert "FunctionError" not in answer, answer
    return seconds, b"Init Duration" in base64.b64decode(answer["LogResult"])
cold = []
for _ in range(5):
    # A changed setting retires the warm environments, as on AWS.
    client.update_function_configuration(FunctionName="airflow-test", Description=str(time.time()))
    client.get_waiter("function_updated_v2").wait(FunctionName="airflow-test", WaiterConfig={"Delay": 0.05})
    cold.append(call())
warm = [call() for _ in range(50)]
assert all(init for _, init in cold) and not any(init for _, init in warm)
print(json.dumps({"cold": [seconds for seconds, _ in cold], "warm": [seconds for seconds, _ in warm]}))
"""

# Runs in the scheduler's container, where the task log grows: when is each of the function's lines there?
RELAY_PROBE = """
import datetime, glob, json, sys, time
pattern, count = sys.argv[1], int(sys.argv[2])
lags, rest, log = [], b"", None
deadline = time.time() + 120
while len(lags) < count and time.time() < deadline:
    if log is None:
        found = glob.glob(pattern)
        log = open(found[0], "rb") if found else None
    chunk = log.read() if log else b""
    now = time.time()
    *lines, rest = (rest + chunk).split(b"\\n")
    for line in lines:
        record = json.loads(line)
        if record.get("logger", "").startswith("lambda."):
            lags.append(now - datetime.datetime.fromisoformat(record["timestamp"]).timestamp())
    time.sleep(0.01)
print(json.dumps(lags))
"""

DAG_FILE = """
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
with DAG("bench-{number}", schedule=None):
    EmptyOperator(task_id="nothing")
"""


def p95(values: list[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    return statistics.quantiles(values, n=20, method="inclusive")[18]


class Report:
    """Prints each figure as it comes, and keeps all of them."""

    def __init__(self) -> None:
        """Start with the machine's description."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        self.machine = f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"
        self.figures: dict[str, dict[str, Any]] = {}
        sys.stdout.write(f"machine: {self.machine}\n")

    def add(self, name: str, value: float, unit: str, bar: float) -> None:
        """One figure; ``bar`` is what it should not exceed."""
        self.figures[name] = {"value": round(value, 3), "unit": unit, "bar": bar}
        verdict = "ok" if value <= bar else "OVER"
        sys.stdout.write(f"{name:<46} {value:9.3f} {unit:<3} at most {bar:g}: {verdict}\n")
        sys.stdout.flush()

    @property
    def over(self) -> bool:
        """Whether a figure is over its bar."""
        return any(figure["value"] > figure["bar"] for figure in self.figures.values())


def up(stack: Compose) -> float:
    """Seconds that ``docker compose up --detach --wait`` takes."""
    start = time.monotonic()
    stack.run("docker", "compose", "up", "--detach", "--wait", what="starting the stack")
    return time.monotonic() - start


def first_run(client: AirflowClient) -> float:
    """Seconds from triggering the demo to its green end."""
    start = time.monotonic()
    run = client.wait(client.trigger("demo-dag", QUICK), timeout=60)
    if run.state != "success":
        raise SystemExit(f"the demo run {run.dag_run_id} ended as {run.state}")
    return time.monotonic() - start


def starts(stack: Compose, report: Report, times: int) -> None:
    """From nothing to ready to the first green run, several times over."""
    ready, green = [], []
    for _ in range(times):
        stack.down(volumes=True)
        ready.append(up(stack))
        green.append(first_run(AirflowClient.of(stack)))
    report.add(f"from nothing to ready, slowest of {times}", max(ready), "s", 18)
    report.add(f"first demo run after that, slowest of {times}", max(green), "s", 4)


def functions(stack: Compose, report: Report) -> None:
    """Lambda calls from another container."""
    figures = json.loads(stack.exec("scheduler", "python", "-c", LAMBDA_PROBE, json.dumps(QUICK)))
    report.add("Lambda, cold start, slowest of 5", max(figures["cold"]) * 1000, "ms", 500)
    report.add("Lambda, warm call, median of 50", statistics.median(figures["warm"]) * 1000, "ms", 15)


def relay(stack: Compose, client: AirflowClient, report: Report, seconds: int = 20) -> None:
    """How late a line is in the task log while the function logs five a second."""
    lines = seconds * 5
    run = client.trigger("demo-dag", {"max_len": lines, "interval": 0.2, "fails_at": None})
    pattern = f"/opt/airflow/logs/dag_id=demo-dag/run_id={run.dag_run_id}/task_id=demo-task/attempt=1.log"
    lags = json.loads(stack.exec("scheduler", "python", "-c", RELAY_PROBE, pattern, str(lines)))
    client.wait(run, timeout=60)
    report.add(f"relay: logged to task log, p95 of {len(lags)} lines", p95(lags), "s", 1.5)


def is_listed(client: AirflowClient, dag_id: str) -> bool:
    """Whether the API lists a DAG."""
    return any(dag.dag_id == dag_id for dag in client.dags())


def new_dags(client: AirflowClient, folder: Path, report: Report, times: int = 20) -> None:
    """How long after a save a DAG is in the API."""
    seen = []
    for number in range(times):
        (folder / f"bench_{number}.py").write_text(DAG_FILE.format(number=number))
        start = time.monotonic()
        wait_until(
            f"bench-{number}", partial(is_listed, client, f"bench-{number}"), timeout=60, interval=0.05
        )
        seen.append(time.monotonic() - start)
    report.add(f"new DAG file visible in the API, p95 of {times}", p95(seen), "s", 2)


def memory(stack: Compose, client: AirflowClient, report: Report) -> None:
    """All services together, after ten demo runs, as ``docker stats`` counts."""
    for _ in range(10):
        first_run(client)
    containers = [service.container for service in stack.services() if service.state == "running"]
    lines = stack.run(
        "docker", "stats", "--no-stream", "--format", "{{json .}}", *containers, what="asking for memory"
    )
    units = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    total = 0.0
    for line in lines.splitlines():
        used = json.loads(line)["MemUsage"].split(" / ")[0]
        total += float(used[:-3]) * units[used[-3:]]
    report.add("memory of all services after ten demo runs", total / 1e9, "GB", 1.4)


def cycles(stack: Compose, report: Report, times: int) -> None:
    """Up and down in a row, with nothing left behind."""
    left = 0
    slowest = 0.0
    for _ in range(times):
        slowest = max(slowest, up(stack))
        stack.down(volumes=True)
        mark = f"label=com.docker.compose.project={PROJECT}"
        for listing in (["ps", "--all"], ["network", "ls"], ["volume", "ls"]):
            left += len(
                stack.run(
                    "docker", *listing, "--quiet", "--filter", mark, what="looking for leftovers"
                ).split()
            )
    report.add(f"up and down {times} times: slowest start", slowest, "s", 18)
    report.add(f"up and down {times} times: things left behind", left, "", 0)


def main() -> None:
    """Run the benchmarks; exit 1 when a figure is over its bar."""
    parser = argparse.ArgumentParser(prog="./windtunnel bench", description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="how often to start from nothing (default 3)")
    parser.add_argument(
        "--cycles", type=int, default=0, help="how many up/down cycles besides (default none)"
    )
    parser.add_argument(
        "--save", action="store_true", help=f"write the figures to {RESULTS.relative_to(ROOT)}"
    )
    options = parser.parse_args()

    folder = Path(tempfile.mkdtemp(prefix="windtunnel-bench-"))
    folder.chmod(0o755)
    shutil.copy(ROOT / "dags" / "demo_dag.py", folder)
    images = os.environ.get("WINDTUNNEL_IMAGE") or Compose().project
    stack = Compose(
        PROJECT,
        {
            "WEBSERVER_PORT": "0",
            "LOCALSTACK_PORT": "0",
            "DAGS_FOLDER": str(folder),
            "WINDTUNNEL_IMAGE": images,
        },
    )
    report = Report()
    steps: list[Callable[[], None]] = [
        lambda: starts(stack, report, options.times),
        lambda: memory(stack, AirflowClient.of(stack), report),
        lambda: functions(stack, report),
        lambda: relay(stack, AirflowClient.of(stack), report),
        lambda: new_dags(AirflowClient.of(stack), folder, report),
        lambda: cycles(stack, report, options.cycles) if options.cycles else None,
    ]
    try:
        for step in steps:
            step()
    finally:
        stack.down(volumes=True)
        shutil.rmtree(folder)
    if options.save:
        RESULTS.write_text(
            json.dumps({"machine": report.machine, "figures": report.figures}, indent=2) + "\n"
        )
    if report.over:
        sys.exit(1)


if __name__ == "__main__":
    main()
