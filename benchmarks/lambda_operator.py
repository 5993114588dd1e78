"""The figures of operator and decorator: what they cost, and how soon a line is in the task log."""

import json
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import localstack_client.session
from airflow_client.client.models.dag_run_response import DAGRunResponse
from airflow_client.client.models.task_instance_response import TaskInstanceResponse

from benchmarks.report import Report, p95
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.stack.base import Stack
from windtunnel.waiting import wait_until

DAGS = Path(__file__).parent / "dags"
LAMBDAS = Path(__file__).parent / "lambdas"
# The function of all DAGs here, and its own log.
FUNCTION = "bench-lines"
OWN_LOG = f"/aws/lambda/{FUNCTION}"
REGION = "ap-southeast-2"
SLOTS = 4

# Lambda's own account of a call: "REPORT RequestId: 5f…<tab>Duration: 12.34 ms<tab>Billed Duration: …".
REPORT_LINE = re.compile(r"^REPORT RequestId: \S+\tDuration: ([0-9.]+) ms", re.MULTILINE)

# Runs in the scheduler's container, where the task log grows: when is each of the function's lines there?
RELAY_PROBE = """
import datetime, glob, json, sys, time
pattern, count, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
lags, rest, log = [], b"", None
deadline = time.time() + seconds
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

# Runs in a container beside LocalStack: calls without and with the block that asks for the relay, by turns.
DECORATOR_PROBE = """
import base64, boto3, json, sys
from airflow_relay.contract import Destination
function, group, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = boto3.client("lambda")
calls = []
for number in range(count):
    event = {"lines": 100, "interval": 0}
    if number % 2:
        event |= Destination(group, f"decorator/{number}").as_payload()
    answer = client.invoke(FunctionName=function, Payload=json.dumps(event), LogType="Tail")
    payload, tail = answer["Payload"].read(), base64.b64decode(answer["LogResult"]).decode()
    assert "FunctionError" not in answer, payload
    calls.append((json.loads(payload)["seconds"], tail))
print(json.dumps(calls))
"""


def reported_ms(log: str) -> float:
    """How long a call took by the REPORT line in its log, in milliseconds; start-up does not count.

    :raises ValueError: when there is no such line.
    """
    found = REPORT_LINE.search(log)
    if not found:
        raise ValueError(f"no REPORT line in {log!r:.200}")
    return float(found[1])


def reports(stack: Stack, since: float) -> list[str]:
    """The REPORT lines of all calls since a time (seconds since the epoch), the oldest first."""
    host = stack.address("localstack").removeprefix("http://")
    logs = localstack_client.session.Session(localstack_host=host, region_name=REGION).client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=OWN_LOG, filterPattern="REPORT", startTime=int(since * 1000)
    )
    events = [event for page in pages for event in page["events"] if REPORT_LINE.match(event["message"])]
    return [event["message"] for event in sorted(events, key=lambda event: event["timestamp"])]


def ended(client: AirflowClient, run: DAGRunResponse, timeout: float) -> list[TaskInstanceResponse]:
    """A run's task instances, when it has ended well.

    :param timeout: seconds.
    """
    run = client.wait(run, timeout)
    if run.state != "success":
        raise SystemExit(f"the run {run.dag_run_id} of {run.dag_id} ended as {run.state}")
    return client.task_instances(run)


def overhead(stack: Stack, client: AirflowClient, report: Report, pairs: int = 12, warm_ups: int = 2) -> None:
    """What a task takes besides its function, with our operator and with the provider's, by turns.

    One call at a time, so the calls and the REPORT lines are in one order.
    """
    start, durations = time.time(), list[float]()
    for _ in range(warm_ups + pairs):
        for dag_id in ("bench-relayed", "bench-plain"):
            (task,) = ended(client, client.trigger(dag_id), timeout=60)
            durations.append(task.duration or 0)
    lines = wait_until(
        f"{len(durations)} REPORT lines in {OWN_LOG}",
        lambda: found if len(found := reports(stack, start)) == len(durations) else None,
        timeout=20,
    )
    costs = [duration * 1000 - reported_ms(line) for duration, line in zip(durations, lines, strict=True)][
        2 * warm_ups :
    ]
    ours, providers = statistics.median(costs[::2]), statistics.median(costs[1::2])
    report.add(f"LambdaOperator: task less function, median of {pairs}", ours, "ms")
    report.add(f"LambdaInvokeFunctionOperator: the same, median of {pairs}", providers, "ms")
    report.add("operator overhead, ours by the provider's", ours / providers, "", 1.15)


def relay_lag(stack: Stack, client: AirflowClient, report: Report, seconds: int = 60) -> None:
    """How late a line is in the task log while the function logs five a second."""
    lines = seconds * 5
    run = client.trigger("bench-relayed", {"lines": lines, "interval": 0.2})
    home = stack.exec("scheduler", "sh", "-c", 'echo "$AIRFLOW_HOME"').strip()
    pattern = f"{home}/logs/dag_id={run.dag_id}/run_id={run.dag_run_id}/task_id=invoke/attempt=1.log"
    answer = stack.exec("scheduler", "python", "-c", RELAY_PROBE, pattern, str(lines), str(seconds + 60))
    lags = json.loads(answer)
    ended(client, run, timeout=60)
    report.add(f"relay: logged to task log, p95 of {len(lags)} lines", p95(lags), "s", 1.0)


def deferred(client: AirflowClient, report: Report) -> None:
    """Thirty functions of 20 s, while four tasks run at a time: held slots would make that 150 s."""
    tasks = ended(client, client.trigger("bench-deferred"), timeout=300)
    starts = [task.start_date for task in tasks if task.start_date]
    ends = [task.end_date for task in tasks if task.end_date]
    seconds = (max(ends) - min(starts)).total_seconds()
    report.add(f"deferrable: {len(tasks)} functions of 20 s each, {SLOTS} slots", seconds, "s", 60)


def decorator(stack: Stack, report: Report, calls: int = 30, warm_ups: int = 2) -> None:
    """What the relay adds to a warm call that logs 100 lines, in all and in the handler itself."""
    count = 2 * (warm_ups + calls)
    group = f"/airflow/lambda/{FUNCTION}"
    answer = stack.exec("scheduler", "python", "-c", DECORATOR_PROBE, FUNCTION, group, str(count))
    measured = [(seconds * 1000, reported_ms(tail)) for seconds, tail in json.loads(answer)]
    inside, total = (list(added(values)) for values in zip(*measured[2 * warm_ups :], strict=True))
    report.add(f"decorator: 100 lines, warm, median of {calls}", statistics.median(total), "ms", 30)
    report.add("decorator: of that, in the handler", statistics.median(inside), "ms")


def added(values: Sequence[float]) -> Iterator[float]:
    """By how much every second value is more than the one before it."""
    return (after - before for before, after in zip(values[::2], values[1::2], strict=True))


def measure(stack: Stack, report: Report) -> None:
    """Start the stack and measure all of it; the overhead first, while nothing else has run."""
    stack.up()
    client = AirflowClient.of(stack)
    overhead(stack, client, report)
    decorator(stack, report)
    relay_lag(stack, client, report)
    deferred(client, report)
