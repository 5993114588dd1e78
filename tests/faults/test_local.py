"""Processes die, supervisord among them: what is left is named, started again or ended."""

import os
import signal

import psutil
import pytest

from tests.support import StackUnderTest
from windtunnel.airflow_api.lookups import Lookups
from windtunnel.diagnosis import status
from windtunnel.local import processes
from windtunnel.local.stack import ProcessStack
from windtunnel.stack.service import Service
from windtunnel.waiting import wait_until

pytestmark = pytest.mark.engine("local")

SERVICES = ["postgres", "localstack", "webserver", "scheduler", "dag-processor", "triggerer"]


@pytest.fixture
def local(stack: StackUnderTest) -> ProcessStack:
    assert isinstance(stack.stack, ProcessStack)
    return stack.stack


def service(local: ProcessStack, name: str) -> Service:
    return next(found for found in local.services() if found.name == name)


def shared_memory() -> str:
    """The System V segments of this machine, by key and id."""
    with open("/proc/sysvipc/shm") as table:
        return "\n".join(" ".join(line.split()[:2]) for line in table)


@pytest.mark.parametrize("name", SERVICES)
def test_a_killed_service_is_started_again_and_that_is_told(
    stack: StackUnderTest, local: ProcessStack, name: str
) -> None:
    before = service(local, name)
    old = {process.pid for process in stack.processes(name)}

    os.kill(int(before.id), signal.SIGKILL)

    def another() -> bool:
        now = service(local, name)
        return now.state == "running" and now.id != before.id

    wait_until(f"another process of {name}", another, timeout=20)
    stack.wait_for_health(name)
    assert service(local, name).restarts == before.restarts + 1
    # Its workers, too: in a container they would have gone with it.
    wait_until(f"the end of what {name} has left", lambda: not alive(old), timeout=20)
    report = status.Report.of(local)
    assert next(found for found in report.services if found.name == name).restarts > before.restarts


def test_services_come_back_when_what_they_are_forked_from_is_killed(
    stack: StackUnderTest, local: ProcessStack
) -> None:
    # This floor gives scheduler and web server settings of their own, so these are not.
    forked = {name: service(local, name).id for name in ("dag-processor", "triggerer")}
    fork_server = local.supervisor.calls.getProcessInfo("fork-server")["pid"]

    os.kill(fork_server, signal.SIGKILL)

    wait_until(
        "another process of each",
        lambda: all(service(local, name).id != before for name, before in forked.items()),
        timeout=20,
    )
    for name in forked:
        stack.wait_for_health(name)
    run = stack.airflow.trigger("test-once", {"payloads": [{"max_len": 0}]})
    assert stack.airflow.wait(run, timeout=60).state == "success"
    # From then on it serves again.
    assert local.supervisor.calls.getProcessInfo("fork-server")["pid"] != fork_server


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if psutil.pid_exists(pid)}


def test_without_supervisord_the_stack_is_known_ended_and_started_anew(
    stack: StackUnderTest, local: ProcessStack
) -> None:
    """Each start is a new one, on the data of the one before."""
    segments = shared_memory()
    airflow = stack.airflow
    run = airflow.trigger("test-once", {"payloads": [{"max_len": 0}]})
    assert airflow.wait(run, timeout=60).state == "success"
    kill_supervisord(local)

    # A service that writes a line has nobody left to read it, and may end of that.
    states = {found.name: found.state for found in local.services()}
    ended = {name for name in SERVICES if states[name] == "absent"}
    assert {name for name in ended if stack.processes(name)} == set()
    assert {states[name] for name in set(SERVICES) - ended} == {"unsupervised"}
    # Committed just before the end, which Postgres writes down at the end only (`synchronous_commit=off`).
    Lookups(airflow).add_variable("last_word", "kept")

    local.up()

    assert {found.name for found in local.services() if not found.ready} == set()
    assert stack.airflow.run(run.dag_id, run.dag_run_id).state == "success"
    Lookups(stack.airflow).delete_variable("last_word")

    kill_supervisord(local)
    for name in SERVICES:
        # The first one alone: what it has started is for `down` to find.
        for first in sorted(stack.processes(name), key=lambda process: process.create_time())[:1]:
            first.kill()

    local.down()

    assert processes.processes(local.layout.run) == []
    assert not local.layout.run.exists()
    assert len(shared_memory().splitlines()) <= len(segments.splitlines()) - 1
    local.up()


def kill_supervisord(local: ProcessStack) -> None:
    process = psutil.Process(local.supervisor.calls.getPID())
    process.kill()
    wait_until("supervisord to be gone", lambda: not local.supervisor.answers(), timeout=10)
