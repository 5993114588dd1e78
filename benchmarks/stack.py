"""The stack's own figures: starts, Lambda calls, new DAGs, memory, what is left behind."""

import importlib.metadata
import json
import re
import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.report import Report, p95
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.local import processes
from windtunnel.local.stack import ProcessStack
from windtunnel.stack.base import Stack
from windtunnel.stack.settings import ROOT
from windtunnel.waiting import wait_until

DAGS = ROOT / "dags" / "demo_dag.py"
LAMBDAS = ROOT / "lambdas"
# Seconds from nothing to ready, and GB.
BARS = {"compose": {"ready": 18, "memory": 1.4}, "local": {"ready": 12, "memory": 1.2}}
QUICK = {"max_len": 1, "interval": 0, "fails_at": None}

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

DAG_FILE = """
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
with DAG("bench-{number}", schedule=None):
    EmptyOperator(task_id="nothing")
"""


def up(stack: Stack) -> float:
    """Seconds that the command takes which starts a stack."""
    command = ["docker", "compose", "up", "--detach", "--wait"]
    if stack.engine == "local":
        command = [str(ROOT / "windtunnel"), "up", "--engine", "local"]
    start = time.monotonic()
    stack.run(*command, what="starting the stack")
    return time.monotonic() - start


def first_run(client: AirflowClient) -> float:
    """Seconds from triggering the demo to its green end."""
    start = time.monotonic()
    run = client.wait(client.trigger("demo-dag", QUICK), timeout=60)
    if run.state != "success":
        raise SystemExit(f"the demo run {run.dag_run_id} ended as {run.state}")
    return time.monotonic() - start


def starts(stack: Stack, report: Report, times: int) -> None:
    """From nothing to ready to the first green run, several times over."""
    ready, green = [], []
    for _ in range(times):
        stack.down(volumes=True)
        ready.append(up(stack))
        green.append(first_run(AirflowClient.of(stack)))
    report.add(f"from nothing to ready, slowest of {times}", max(ready), "s", BARS[stack.engine]["ready"])
    report.add(f"first demo run after that, slowest of {times}", max(green), "s", 4)


def functions(stack: Stack, report: Report) -> None:
    """Lambda calls from another container."""
    figures = json.loads(stack.exec("scheduler", "python", "-c", LAMBDA_PROBE, json.dumps(QUICK)))
    report.add("Lambda, cold start, slowest of 5", max(figures["cold"]) * 1000, "ms", 500)
    report.add("Lambda, warm call, median of 50", statistics.median(figures["warm"]) * 1000, "ms", 15)


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


def memory(stack: Stack, client: AirflowClient, report: Report) -> None:
    """All services together, after ten demo runs."""
    for _ in range(10):
        first_run(client)
    total = sum(stack.memory().values())
    report.add("memory of all services after ten demo runs", total / 1e9, "GB", BARS[stack.engine]["memory"])


def disk(stack: ProcessStack, report: Report) -> None:
    """All that ``up`` has put into the checkout, this stack's data included; the suite's tools apart."""
    state = ROOT / ".windtunnel"
    tools = {state / "venvs" / "test", *tools_of_the_suite()}
    sizes: dict[bool, dict[int, int]] = {True: {}, False: {}}
    for path in state.rglob("*"):
        info = path.lstat()
        if "evidence" not in path.parts:
            is_tool = not tools.isdisjoint([path, *path.parents])
            sizes[is_tool][info.st_ino] = info.st_blocks * 512
    for name, is_tool, bar in (
        ("disk: environments, command line and data", False, 1.2),
        ("disk: what the suite adds", True, None),
    ):
        report.add(name, sum(sizes[is_tool].values()) / 1e9, "GB", bar)


def tools_of_the_suite() -> Iterator[Path]:
    """The files of what is in this environment for the suite and the checks alone."""
    names = re.compile(r"^([\w.-]+)", re.MULTILINE)
    for_up = {name.lower() for name in names.findall((ROOT / "locks" / "cli.txt").read_text())}
    for distribution in importlib.metadata.distributions():
        if distribution.name.lower().replace("_", "-") not in for_up:
            yield from (Path(str(distribution.locate_file(file))) for file in distribution.files or ())


def left_of(stack: Stack) -> int:
    """How many things of a stack that was removed are there still."""
    if isinstance(stack, ProcessStack):
        return len(processes.processes(stack.layout.run)) + stack.layout.folder.exists()
    mark = f"label=com.docker.compose.project={stack.project}"
    listings = (["ps", "--all"], ["network", "ls"], ["volume", "ls"])
    found = [
        stack.run("docker", *listing, "--quiet", "--filter", mark, what="looking for leftovers")
        for listing in listings
    ]
    return sum(len(lines.split()) for lines in found)


def cycles(stack: Stack, report: Report, times: int) -> None:
    """Up and down in a row, with nothing left behind."""
    left = 0
    slowest = 0.0
    for _ in range(times):
        slowest = max(slowest, up(stack))
        stack.down(volumes=True)
        left += left_of(stack)
    report.add(f"up and down {times} times: slowest start", slowest, "s", BARS[stack.engine]["ready"])
    report.add(f"up and down {times} times: things left behind", left, "", 0)


def measure(stack: Stack, report: Report, times: int, cycle_times: int) -> None:
    """Measure all of it.

    :param times: how often to start from nothing.
    :param cycle_times: how many up/down cycles besides; 0 for none.
    """
    starts(stack, report, times)
    client = AirflowClient.of(stack)
    memory(stack, client, report)
    functions(stack, report)
    new_dags(client, stack.settings.folder("DAGS_FOLDER"), report)
    if isinstance(stack, ProcessStack):
        disk(stack, report)
    if cycle_times:
        cycles(stack, report, cycle_times)
