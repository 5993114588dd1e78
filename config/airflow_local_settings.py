"""Imported by every Airflow process as it starts (Airflow's own hook for local settings).

The scheduler forks its LocalExecutor's workers, and each worker forks a process for each task; so do Celery's
workers. What has been imported by then is there in all of them; what has not, each task imports again: 0.4 s.
"""

import functools
import importlib
import inspect
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

# What every task of this stack needs: task runner, parser, S3 log upload, the provider's hooks for Lambda.
PRELOADED = (
    "airflow.dag_processing.bundles.local",
    "airflow.dag_processing.dagbag",
    "airflow.providers.amazon.aws.hooks.lambda_function",
    "airflow.providers.amazon.aws.hooks.logs",
    "airflow.providers.amazon.aws.hooks.s3",
    "airflow.providers.amazon.aws.log.s3_task_handler",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
)
# Ours: 20 ms, most of it compiling, as their folders are mounted read-only and keep no bytecode. They may be
# edited, or hidden by files of CUSTOM_FOLDER: then a task imports them again.
PRELOADED_UNLESS_EDITED = ("custom.hooks.lambda_function", "custom.operators.lambda_function")
EDITABLE_PACKAGES = ("custom", "airflow_relay")
# What tasks of this stack talk to, as boto3 names it.
AWS_SERVICES = ("s3", "lambda", "logs")
# Between two looks at a process that is about to end, in seconds.
SOON = 0.01


def editable_modules() -> list[str]:
    """The names of all modules of these packages that are imported."""
    return [name for name in sys.modules if name.partition(".")[0] in EDITABLE_PACKAGES]


def editable_files() -> Iterator[Path]:
    """Their files, and every folder that could get another one."""
    for name in editable_modules():
        if file := getattr(sys.modules[name], "__file__", None):
            yield Path(file)
        for folder in getattr(sys.modules[name], "__path__", ()):
            yield Path(folder)


def versions(paths: list[Path]) -> list[tuple[int, int]]:
    """Time and size of each; zeros for one that is not there."""
    found = [path.stat() if path.exists() else None for path in paths]
    return [(one.st_mtime_ns, one.st_size) if one else (0, 0) for one in found]


def share_descriptions_of_services() -> None:
    """Let all boto3 sessions share what they read of boto3's own files.

    A session reads up to 1 MB of JSON for each service that it makes a client for: 80 ms and 12 MB, against
    10 ms and 0.5 MB. Hooks make a session each.
    """
    import boto3
    import botocore.session

    botocore.session.create_loader = functools.cache(botocore.session.create_loader)
    for service in AWS_SERVICES:
        boto3.session.Session().client(service)


def share_what_tasks_make() -> None:
    """Make once what each task would make for itself, a fifth of a short task's own time, and each worker.

    For tasks that is the schema of what they are sent (Airflow makes it twice in a task), the plugins that
    listen to them, and what botocore finds out about its own handlers in each session; for workers the
    certificates that the client of Airflow's API trusts: 70 ms. Hooks of both find their callers cheaply.
    """
    import botocore.hooks
    from airflow.sdk.api.client import Client
    from airflow.sdk.execution_time import comms
    from airflow.sdk.listener import get_listener_manager

    make = comms.TypeAdapter
    shared = make(comms.ToTask)
    comms.TypeAdapter = lambda kind: shared if kind is comms.ToTask else make(kind)
    botocore.hooks.accepts_kwargs = remembered(botocore.hooks.accepts_kwargs)
    get_listener_manager()
    Client(base_url="http://localhost", token="").close()
    find_callers_without_their_source()
    notice_the_end_of_a_task_at_once()


def notice_the_end_of_a_task_at_once() -> None:
    """Let a supervisor look for the end of its task's process soon after that has closed its streams.

    A process closes them a tenth of a millisecond before it has ended. Airflow's supervisor looks in between,
    and again when its next heartbeat may be due: a second later, for which the task keeps its slot.
    """
    from airflow.sdk.execution_time.supervisor import WatchedSubprocess

    original = WatchedSubprocess._service_subprocess

    def look(self: Any, max_wait_time: float, *arguments: Any, **options: Any) -> Any:
        is_about_to_end = not self._open_sockets
        wait = min(max_wait_time, SOON) if is_about_to_end else max_wait_time
        return original(self, wait, *arguments, **options)

    WatchedSubprocess._service_subprocess = look


def find_callers_without_their_source() -> None:
    """Let the provider's hooks find who calls them by the names of frames, which is all that they look at.

    They ask ``inspect.stack`` as well for lines of source, and the first such question in a process reads the
    paths of 1,800 modules: 70 ms.
    """
    from airflow.providers.amazon.aws.hooks import base_aws

    cheap = ModuleType(inspect.__name__)
    vars(cheap).update(vars(inspect))
    vars(cheap)["stack"] = callers
    base_aws.inspect = cheap


def callers() -> list["Caller"]:
    """Return the frames that have led here, as ``inspect.stack`` does, without their source."""
    frames = traceback.walk_stack(inspect.currentframe())
    return [Caller(frame, frame.f_code.co_name) for frame, _ in frames]


class Caller(NamedTuple):
    """What the provider reads of ``inspect.FrameInfo``."""

    frame: FrameType
    function: str


def remembered(examine: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return a function that examines each handler once, and keeps none of them alive.

    Many are methods of a client: kept, they would keep each session of a process that runs for days.
    """
    known: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()

    def answer(handler: Any) -> bool:
        function = getattr(handler, "__func__", handler)
        if function not in known:
            known[function] = examine(handler)
        return known[function]

    return answer


def forks_tasks(arguments: Sequence[str]) -> bool:
    """Whether a command of Airflow forks processes for tasks.

    :param arguments: what follows ``airflow``.
    """
    return arguments[:1] == ["scheduler"] or arguments[:2] == ["celery", "worker"]


def preload() -> None:
    """Import what every task needs, and see to it that a task does not use what was edited since."""
    for name in PRELOADED:
        importlib.import_module(name)
    share_descriptions_of_services()
    try:
        for name in PRELOADED_UNLESS_EDITED:
            importlib.import_module(name)
    except Exception as error:
        # The user's own file, perhaps: tasks that import it will say so, the scheduler is to run.
        logging.getLogger(__name__).warning("custom cannot be imported: %s", error)
    share_what_tasks_make()
    paths = sorted(set(editable_files()))
    before = versions(paths)

    def forget_what_was_edited() -> None:
        if versions(paths) != before:
            for name in editable_modules():
                del sys.modules[name]
            importlib.invalidate_caches()

    os.register_at_fork(after_in_child=forget_what_was_edited)


# It says where it found credentials and addresses, five lines in each task's log.
logging.getLogger("botocore").setLevel(logging.WARNING)

# There is no log server to ask (docs/decisions/0008): a running task's log is read from the shared volume.
logging.getLogger("airflow.utils.log.file_task_handler").addFilter(
    lambda record: record.msg != "Could not read served logs"
)

# On the local engine the fork server, which both are forked from, calls it.
if forks_tasks(sys.argv[1:]):
    preload()
