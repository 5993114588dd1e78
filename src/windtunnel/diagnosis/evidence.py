"""The failure bundle: what a running stack can tell, in files, for whoever looks at a failed test."""

import json
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import psutil
import urllib3
from airflow_client.client.models.dag_run_response import DAGRunResponse

from windtunnel.airflow_api.client import FINISHED
from windtunnel.airflow_api.task_log import TELLING_LINES
from windtunnel.diagnosis import batch, ecs, sqs
from windtunnel.diagnosis.containers import Stream
from windtunnel.diagnosis.redaction import redacted, without_tokens
from windtunnel.stack import aws, overlays
from windtunnel.testing.runs import TaskInstance, log_key
from windtunnel.testing.stack import RunningStack

# A file for each answer: the service and the path that are asked.
HEALTH = {
    "airflow.json": ("webserver", "/api/v2/monitor/health"),
    "localstack.json": ("localstack", aws.HEALTH),
    "seeding.json": ("localstack", "/_localstack/init"),
}

# The service and the path that know a version.
VERSIONS = {"airflow": ("webserver", "/api/v2/version"), "localstack": ("localstack", aws.HEALTH)}

# How many of the session's last runs are shown if the failed test has none of its own.
RUNS = 20

# How many lines of each part are shown: a run, its task, and the end of its log, which has the exception.
SHOWN = 2 + TELLING_LINES

# Tasks that have ended well, or have not begun.
QUIET = ("success", "skipped", "removed", None)

# How many of a log group's last events are written, and of a bucket's last objects.
LATEST = 1000

# Of so many containers of a service that run or have failed, so many of the last lines are written.
STREAMS, LINES = 20, 200

# The functions' own log groups, and the groups of relayed lines if these are named alike.
GROUPS = ("/aws/lambda/", "/airflow/lambda/")

# GitHub's upload-artifact refuses these in a path; the ids of most runs have a colon.
REFUSED = re.compile(r'[":<>|*?\r\n]')


def write(stack: RunningStack, folder: Path, runs: Sequence[DAGRunResponse] = ()) -> list[str]:
    """Write what the stack can tell; ``missing.txt`` names the rest, with the reason.

    :param folder: is emptied first.
    :param runs: the failed test's; without any, the session's last are written, but not returned.
    :return: why these runs have failed or not ended, the latest first, then import errors, then why functions
        are not what they should be; the first lines of each.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lines: list[str] = []
    missing: list[str] = []
    shown = runs or stack.runs[-RUNS:]
    parts: dict[str, Callable[[RunningStack, Path], list[str] | None]] = {
        "runs.txt": partial(_runs, runs=shown, own=[run.dag_run_id for run in runs]),
        "import_errors.txt": _import_errors,
        "health": partial(_health, missing=missing),
        "tasks": partial(_task_logs, runs=shown, missing=missing),
        "functions": _functions,
        "ecs.json": partial(_containers, of=ecs, missing=missing),
        "batch.json": partial(_containers, of=batch, missing=missing),
        "sqs.json": _queues,
        "s3.txt": _s3,
        "versions.json": partial(_versions, missing=missing),
        "resources.txt": _resources,
        "services": lambda stack, folder: stack.stack.write_logs(folder),
    }
    for name, part in parts.items():
        with _noted(missing, name):
            lines += (part(stack, folder / name) or [])[:SHOWN]
    if missing:
        (folder / "missing.txt").write_text("".join(missing))
    return lines


@contextmanager
def _noted(missing: list[str], name: str) -> Iterator[None]:
    """Go on after a failure, and add its reason to ``missing``."""
    try:
        yield
    except Exception as error:
        missing.append(f"{name}: {type(error).__name__}: {error}\n")


def _runs(stack: RunningStack, path: Path, runs: Sequence[DAGRunResponse], own: Collection[str]) -> list[str]:
    """Return why each run failed, or what it is doing."""
    telling: list[str] = []
    with path.open("w") as file:
        for run in reversed(runs):
            why = [*stack.airflow.failures(run), *_unfinished(stack, run)]
            lines = [f"{run.dag_id} {run.dag_run_id}:", *why] if why else []
            file.writelines(f"{line}\n" for line in lines)
            telling += lines if run.dag_run_id in own else []
    return telling


def _unfinished(stack: RunningStack, run: DAGRunResponse) -> list[str]:
    """Return the state of a run that has not ended, then its tasks' states."""
    state = stack.airflow.run(run.dag_id, run.dag_run_id).state
    if state in FINISHED:
        return []
    tasks = stack.airflow.task_instances(run)
    lines = [f"  {TaskInstance(stack, run, task)!r}, try {task.try_number}" for task in tasks]
    return [f"has not ended; the run is {state.value}:", *lines]


def _import_errors(stack: RunningStack, path: Path) -> list[str]:
    lines: list[str] = stack.airflow.import_error_lines()
    path.write_text("".join(f"{line}\n" for line in lines))
    return lines


def _health(stack: RunningStack, folder: Path, missing: list[str]) -> None:
    folder.mkdir()
    for name, (service, path) in HEALTH.items():
        with _noted(missing, f"{folder.name}/{name}"):
            url = f"{stack.stack.address(service)}{path}"
            (folder / name).write_bytes(urllib3.request("GET", url, timeout=10, retries=False).data)


def _task_logs(stack: RunningStack, folder: Path, runs: Sequence[DAGRunResponse], missing: list[str]) -> None:
    """Write the latest try's log of each task that has not ended well, nearly at Airflow's own path."""
    for run in runs:
        for task in stack.airflow.task_instances(run):
            # Before its first try a task has no log: upstream_failed, for example.
            if task.state in QUIET or not task.try_number:
                continue
            key = log_key(run.dag_id, run.dag_run_id, task.task_id, task.map_index, task.try_number)
            path = folder / REFUSED.sub("_", key)
            with _noted(missing, f"{folder.name}/{key}"):
                text = "\n".join(_task_log(stack, run, task))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)


def _task_log(stack: RunningStack, run: DAGRunResponse, task: Any) -> Iterator[str]:
    log = stack.airflow.task_log(run, task.task_id, task.try_number, task.map_index)
    for record in log.records:
        when = record.time.isoformat() if record.time else ""
        yield f"{when} {record.level.upper():<8} " + "\n".join(record.lines())


def _functions(stack: RunningStack, folder: Path) -> list[str]:
    """Write the functions' settings and the last events of their logs; return what is wrong with them."""
    folder.mkdir()
    client, logs = stack.aws("lambda"), stack.aws("logs")
    pages = client.get_paginator("list_functions").paginate()
    names = [function["FunctionName"] for page in pages for function in page["Functions"]]
    settings = [client.get_function_configuration(FunctionName=name) for name in names]
    (folder / "settings.json").write_text(json.dumps(redacted(settings), indent=1))
    wrong = list(_wrong(settings, stack.stack.ask("localstack", "not_deployed")))
    (folder / "wrong.txt").write_text("".join(f"{line}\n" for line in wrong))
    for prefix in GROUPS:
        groups = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix)
        for group in (group["logGroupName"] for page in groups for group in page["logGroups"]):
            streams = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
            # LocalStack answers stream after stream.
            events = [event for page in streams for event in page["events"]]
            events.sort(key=itemgetter("timestamp"))
            (folder / f"{_file_name(group)}.log").write_text("".join(map(_event, events[-LATEST:])))
    return wrong


def _wrong(settings: Sequence[Mapping[str, Any]], not_deployed: Mapping[str, str]) -> Iterator[str]:
    """Yield why functions, layers and resources are not deployed, then what else Lambda says of functions.

    :param settings: of each function, as Lambda answers them.
    :param not_deployed: by folder or file.
    """
    for name, reason in not_deployed.items():
        yield f"{name} is not deployed: {reason}"
    for function in settings:
        for status, reason in (("State", "StateReason"), ("LastUpdateStatus", "LastUpdateStatusReason")):
            why = function.get(reason, "")
            if function.get(status) == "Failed" and not any(why in other for other in not_deployed.values()):
                yield f"the function {function['FunctionName']} is Failed ({status}): {why}"


def _event(event: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(event["timestamp"] / 1000, UTC).isoformat(timespec="milliseconds")
    parts = (when, event.get("logStreamName"), event["message"].rstrip())
    return without_tokens(f"{' '.join(filter(None, parts))}\n")


def _containers(stack: RunningStack, path: Path, of: Any, missing: list[str]) -> None:
    """Write what a service that runs containers holds, and the output of those that run or have failed.

    :param of: the module that knows the service; the file has the service's name.
    """
    if found := _held(stack, path, of):
        folder = path.with_name("containers")
        for stream in islice(of.streams(found), STREAMS):
            with _noted(missing, f"{folder.name}/{stream.name}"):
                _output(stack, folder, stream)


def _queues(stack: RunningStack, path: Path) -> None:
    _held(stack, path, sqs)


def _held(stack: RunningStack, path: Path, of: Any) -> Mapping[str, Any] | None:
    """Write what a service holds, and return it; None if it is not in use, or holds nothing."""
    if path.stem not in aws.Emulator.of(stack.stack).in_use():
        return None
    found: Mapping[str, Any] = of.held(stack.aws(path.stem))
    if not any(found.values()):
        return None
    path.write_text(json.dumps(redacted(found), indent=1, default=str))
    return found


def _output(stack: RunningStack, folder: Path, stream: Stream) -> None:
    """Write the end of a container's output; there is none of one that has not started."""
    logs = stack.aws("logs")
    with suppress(logs.exceptions.ResourceNotFoundException):
        events = logs.get_log_events(logGroupName=stream.group, logStreamName=stream.name, limit=LINES)[
            "events"
        ]
        folder.mkdir(exist_ok=True)
        name = _file_name(f"{stream.group}/{stream.name}")
        (folder / f"{name}.log").write_text("".join(map(_event, events)))


def _file_name(path: str) -> str:
    """Return the name of a log group or stream as one that any system takes for a file."""
    return REFUSED.sub("_", path.strip("/").replace("/", "_"))


def _s3(stack: RunningStack, path: Path) -> None:
    """List every bucket's objects: when written, bytes, key."""
    s3 = stack.aws("s3")
    with path.open("w") as listing:
        for bucket in (bucket["Name"] for bucket in s3.list_buckets()["Buckets"]):
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            found = [content for page in pages for content in page.get("Contents", [])]
            listing.write(f"s3://{bucket}, {len(found)} objects\n")
            for content in sorted(found, key=lambda content: content["LastModified"])[-LATEST:]:
                written = content["LastModified"].isoformat()
                listing.write(f"  {written} {content['Size']:>10} {content['Key']}\n")


def _versions(stack: RunningStack, path: Path, missing: list[str]) -> None:
    found = {
        "windtunnel": "a checkout",
        "engine": stack.stack.engine,
        "with": overlays.described(stack.stack.settings),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    with suppress(PackageNotFoundError):
        found["windtunnel"] = version("windtunnel")
    for name, (service, of) in VERSIONS.items():
        with _noted(missing, f"{path.name}, {name}"):
            url = f"{stack.stack.address(service)}{of}"
            found[name] = urllib3.request("GET", url, timeout=10, retries=False).json()["version"]
    path.write_text(json.dumps(found, indent=1))


def _resources(stack: RunningStack, path: Path) -> None:
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(stack.stack.state_folder)
    lines = [
        time.strftime("at %Y-%m-%dT%H:%M:%S%z"),
        f"cores: {os.cpu_count()}, load: {' '.join(f'{load:.1f}' for load in os.getloadavg())}",
        f"memory: {memory.available / 1e9:.2f} GB available of {memory.total / 1e9:.2f} GB",
        f"disk: {disk.free / 1e9:.2f} GB free of {disk.total / 1e9:.2f} GB",
    ]
    with path.open("w") as file:
        file.writelines(f"{line}\n" for line in lines)
        # Asked last, because the engine may not answer.
        for name, used in sorted(stack.stack.memory().items()):
            file.write(f"{name}: {used / 1e6:.0f} MB\n")
