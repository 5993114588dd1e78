import dataclasses
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from windtunnel.local import healthcheck, processes
from windtunnel.local.healthcheck import Watch
from windtunnel.local.stack import ProcessStack
from windtunnel.local.supervisor import STOP_GRACE_PERIOD
from windtunnel.services import probes
from windtunnel.stack.errors import ServiceFailed, StackError, Unmet
from windtunnel.stack.service import Service
from windtunnel.stack.settings import ROOT
from windtunnel.stack.start import Progress
from windtunnel.waiting import wait_until

from .conftest import entrypoint, info, made, process, service, supervisord

# What is started


def test_a_stack_that_does_not_run_has_no_ports(stack: ProcessStack) -> None:
    with pytest.raises(StackError, match="the stack tunnel does not run"):
        stack.port("webserver")


# The state of a service


def look(stack: ProcessStack, name: str, said: Any) -> Service:
    """What supervisord says of a service, as the stack sees it."""
    return stack._seen(stack._unseen(name, name), said)


@pytest.mark.parametrize(
    ("state", "changed", "word"),
    [
        ("STARTING", {}, "healthy"),
        ("RUNNING", {}, "healthy"),
        ("STOPPING", {}, "healthy"),
        ("BACKOFF", {"exitstatus": 2}, "restarting"),
        ("FATAL", {"exitstatus": 2}, "dead"),
        ("EXITED", {"exitstatus": 2}, "exited with code 2"),
        ("STOPPED", {}, "exited with code 0"),
        ("STOPPED", {"start": 0}, "absent"),
    ],
)
def test_supervisords_states_in_dockers_words(
    written: ProcessStack, monkeypatch: pytest.MonkeyPatch, state: str, changed: dict[str, Any], word: str
) -> None:
    monkeypatch.setitem(probes.PROBES, "scheduler", lambda *_: None)

    service = look(written, "scheduler", info(state, **changed))

    assert service.summary == word
    assert service.exit_code == (changed.get("exitstatus", 0))
    assert bool(service.failed) == (word not in ("healthy", "absent"))


def test_a_one_shot_is_ready_when_it_has_ended_well(written: ProcessStack) -> None:
    assert look(written, "init", info("EXITED")).ready
    assert look(written, "init", info("EXITED", exitstatus=1)).failed
    assert look(written, "init", info("RUNNING")).summary == "running"
    assert look(written, "init", None) == Service("init", one_shot=True)


@pytest.mark.parametrize(
    ("said", "age", "word", "definite"),
    [
        (probes.Unhealthy("no heartbeat"), 1, "starting", False),
        (probes.Unhealthy("no heartbeat"), healthcheck.START_PERIOD + 2, "unhealthy", False),
        (probes.Broken("import error"), 1, "unhealthy", True),
    ],
)
def test_a_service_may_be_unhealthy_for_a_while(
    written: ProcessStack,
    sick: dict[str, probes.Unhealthy],
    said: probes.Unhealthy,
    age: float,
    word: str,
    definite: bool,
) -> None:
    sick["scheduler"] = said

    service = look(written, "scheduler", info("RUNNING", start=time.time() - age))

    assert (service.health, service.health_output, service.definite) == (word, str(said), definite)


def test_a_service_may_take_the_time_that_its_health_check_has(
    written: ProcessStack, sick: dict[str, probes.Unhealthy]
) -> None:
    sick["localstack"] = probes.Unhealthy("still seeding")

    service = look(written, "localstack", info("RUNNING", start=time.time() - healthcheck.START_PERIOD - 2))

    assert service.health == "starting"


def test_a_probe_that_breaks_is_one_that_fails(
    written: ProcessStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(*_: object) -> None:
        raise ValueError("no JSON")

    monkeypatch.setitem(probes.PROBES, "scheduler", probe)

    service = look(written, "scheduler", info("RUNNING"))

    assert (service.health, service.health_output, service.definite) == ("starting", "no JSON", False)


# The order of a start


@pytest.fixture
def started(stack: ProcessStack, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What supervisord is told to start."""
    calls: list[str] = []

    def call(method: str, name: str, *_: object) -> None:
        assert method == "startProcess"
        calls.append(name)

    monkeypatch.setattr(stack.supervisor, "call", call)
    return calls


def seen(stack: ProcessStack, *services: Service) -> list[Service]:
    """These, and no sign of the others."""
    found = {service.name: service for service in services}
    return [found.get(name, Service(name)) for name in stack.service_names]


INIT = Service("init", state="exited", one_shot=True)
POSTGRES, LOCALSTACK, SCHEDULER = (
    Service(name, state="running", health="healthy") for name in ("postgres", "localstack", "scheduler")
)


def test_each_service_waits_for_what_it_depends_on(stack: ProcessStack, started: list[str]) -> None:
    waiting = set(stack.service_names)

    # What waits for nothing, and what need not be ready.
    assert stack._advance(waiting, Watch(1), seen(stack)) == Progress()
    assert started == ["init", "localstack", "postgres"]

    # Not while init is at work, nor while LocalStack is not healthy.
    at_work = replace(INIT, state="running")
    starting = replace(LOCALSTACK, health="starting")
    assert not stack._advance(waiting, Watch(1), seen(stack, at_work, POSTGRES, LOCALSTACK)).done
    assert not stack._advance(waiting, Watch(1), seen(stack, INIT, POSTGRES, starting)).done
    assert len(started) == 3

    assert stack._advance(waiting, Watch(1), seen(stack, INIT, POSTGRES, LOCALSTACK)).done
    assert started[3:] == ["scheduler"]


def test_what_waits_for_a_failed_one_is_not_started(stack: ProcessStack, started: list[str]) -> None:
    failed = replace(INIT, exit_code=1)

    assert not stack._advance({"scheduler"}, Watch(1), seen(stack, failed, POSTGRES, LOCALSTACK)).done
    assert started == []


def test_what_an_earlier_start_has_made_ready_is_awaited_anew(
    stack: ProcessStack, started: list[str]
) -> None:
    services = seen(stack, INIT, POSTGRES, LOCALSTACK, SCHEDULER)
    waiting = set(stack.service_names)

    # That init has ended before says nothing of the one that is begun now.
    assert not stack._advance(waiting, Watch(1), services).done
    assert started == ["init", "localstack", "postgres"]

    assert stack._advance(waiting, Watch(1), services).done
    assert started[3:] == ["scheduler"]


# A real supervisord


@pytest.mark.usefixtures("sick")
def test_up_starts_everything_and_down_leaves_nothing_but_the_data(stack: ProcessStack, root: Path) -> None:
    lines: list[str] = []

    stack.up(lines.append)

    assert all(service.ready for service in stack.services())
    assert [line.split()[0] for line in lines][-1] == "scheduler"
    assert stack.logs("scheduler") == "scheduler --one two words begins\n"
    for container_path, source in {
        "/opt/airflow/dags": root / "dags",
        "/run/secrets/windtunnel": stack.layout.folder / "volumes" / "secrets",
    }.items():
        assert (stack.layout.run / "root" / container_path[1:]).samefile(source)
    # The secrets are for their owner alone.
    assert stat.S_IMODE((stack.layout.folder / "volumes" / "secrets").stat().st_mode) == 0o700

    stack.down()

    assert list(processes.processes(root)) == []
    assert sorted(path.name for path in stack.layout.folder.iterdir()) == ["lock", "volumes"]
    assert {service.state for service in stack.services()} == {"absent"}

    stack.down(volumes=True)
    assert not stack.layout.folder.exists()


def test_up_with_other_settings_starts_what_they_concern_anew(running: ProcessStack, root: Path) -> None:
    before = {service.name: service.id for service in running.services()}

    made(root, LEVEL="debug").up()

    after = {service.name: service for service in running.services()}
    assert all(service.ready for service in after.values())
    assert {name for name, service in after.items() if service.id != before[name]} == {"scheduler"}
    wait_until(
        "its new environment",
        lambda: process(running, "scheduler").environ().get("LEVEL") == "debug",
        timeout=10,
        retry_on=(psutil.Error,),
    )


def test_down_stops_what_depends_on_others_before_them(
    running: ProcessStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []
    remove = running._remove_remains

    def read_log_first() -> None:
        log = (running.layout.run / "supervisord.log").read_text()
        stopped.extend(re.findall(r" stopped: (\S+)", log))
        remove()

    monkeypatch.setattr(running, "_remove_remains", read_log_first)

    running.down()

    assert stopped[0] == "scheduler"
    assert sorted(stopped[1:3]) == ["localstack", "postgres"]


def test_where_nobody_reaps_processes_down_ends_all_the_same(root: Path) -> None:
    """As in a container whose first process is not made for that: what has ended stays a zombie."""
    program = (
        "import ctypes, os, sys; from pathlib import Path\n"
        "from windtunnel.services import probes; from windtunnel.local.stack import ProcessStack\n"
        "from windtunnel.stack.settings import Settings\n"
        # PR_SET_CHILD_SUBREAPER: orphans come to this process.
        "ctypes.CDLL(None).prctl(36, 1)\n"
        "if (child := os.fork()) == 0:\n"
        "    probes.PROBES.clear()\n"
        "    local = ProcessStack(Settings.of('tunnel', root=Path(sys.argv[1])))\n"
        "    local.up()\n"
        "    local.down()\n"
        "    os._exit(0)\n"
        "print(os.waitpid(child, 0)[1])"
    )
    environment = {"PYTHONPATH": str(ROOT / "src"), "WEBSERVER_PORT": "0", "LOCALSTACK_PORT": "0"}
    start = time.monotonic()

    said = subprocess.check_output([sys.executable, "-c", program, root], env=environment, text=True)

    assert said == "0\n"
    assert time.monotonic() - start < STOP_GRACE_PERIOD


def test_what_was_started_outlives_the_terminal(running: ProcessStack) -> None:
    # A process of another session gets no signal of this terminal, and one whose parent is gone is nobody's.
    assert os.getsid(supervisord(running).pid) != os.getsid(0)
    assert supervisord(running).ppid() != os.getpid()


def test_a_service_gets_its_definition_and_nothing_else(
    root: Path, sick: dict[str, probes.Unhealthy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_SHELL", "1")
    stack = made(root)
    stack.up()

    given = process(stack, "scheduler").environ()

    # What a shell sets by itself.
    assert {name: value for name, value in given.items() if name not in ("PWD", "SHLVL", "_")} == dict(
        stack.variables("scheduler")
    )
    assert stack.exec("scheduler", "sh", "-c", 'echo "$POSTGRES_ADDRESS"') == (
        f"{stack.address('postgres')}\n"
    )


def test_what_does_not_run_runs_no_command(running: ProcessStack) -> None:
    with pytest.raises(StackError, match="init does not run"):
        running.exec("init", "true")
    running.down()
    with pytest.raises(StackError, match="scheduler does not run"):
        running.exec("scheduler", "true")


def test_a_killed_service_is_started_again_and_that_is_counted(running: ProcessStack) -> None:
    killed = process(running, "scheduler")
    assert service(running, "scheduler").restarts == 0

    killed.kill()

    wait_until(
        "the scheduler to run again",
        lambda: (
            service(running, "scheduler").state == "running"
            and process(running, "scheduler").pid != killed.pid
        ),
        timeout=20,
        retry_on=(psutil.Error,),
    )
    assert service(running, "scheduler").restarts == 1
    assert service(running, "postgres").restarts == 0


def test_with_a_service_goes_what_it_has_started(root: Path, sick: dict[str, probes.Unhealthy]) -> None:
    # In a session of its own, so that no signal to the group reaches it.
    entrypoint(root, scheduler="setsid sleep 601 &")
    stack = made(root)
    stack.up()

    def children() -> list[psutil.Process]:
        of_scheduler = processes.processes(stack.layout.run, "scheduler")
        return [process for process in of_scheduler if process.cmdline() == ["sleep", "601"]]

    (child,) = wait_until("its child", children, timeout=10, retry_on=(psutil.Error,))

    process(stack, "scheduler").kill()

    wait_until(
        "another child",
        lambda: [other for other in children() if other != child],
        timeout=20,
        retry_on=(psutil.Error,),
    )
    assert child not in processes.processes(root)


def test_after_the_end_of_supervisord_its_stack_is_known_and_can_be_taken_down(
    running: ProcessStack, root: Path
) -> None:
    supervisord(running).kill()

    wait_until("that to be noticed", lambda: not running.supervisor.answers(), timeout=5)
    states = {service.name: service.state for service in made(root).services()}
    assert states == {
        "init": "absent",
        "localstack": "unsupervised",
        "postgres": "unsupervised",
        "scheduler": "unsupervised",
    }

    running.down()

    assert list(processes.processes(root)) == []
    assert not running.layout.run.exists()


def test_a_stack_is_there_while_something_of_it_runs(
    stack: ProcessStack, sick: dict[str, probes.Unhealthy]
) -> None:
    assert not stack.is_there()
    stack.up()
    assert stack.is_there()

    supervisord(stack).kill()
    wait_until("that to be noticed", lambda: not stack.supervisor.answers(), timeout=5)
    assert stack.is_there()

    # As after a restart of the machine.
    processes.end(stack.layout.run)
    assert stack.layout.run.exists()
    assert not stack.is_there()


def test_after_the_end_of_supervisord_up_starts_anew(running: ProcessStack) -> None:
    old = process(running, "postgres")
    supervisord(running).kill()
    wait_until("that to be noticed", lambda: not running.supervisor.answers(), timeout=5)

    running.up()

    assert all(service.ready for service in running.services())
    assert old not in processes.processes(running.layout.run)


def test_up_on_a_running_stack_leaves_it_as_it_is(running: ProcessStack) -> None:
    before = [service.id for service in running.services()]
    ports = running.port("webserver")

    running.up()

    assert [service.id for service in running.services()] == before
    assert running.port("webserver") == ports
    # But for what is to run each time.
    assert running.logs("init") == "init begins\ninit begins\n"


def test_a_service_that_fails_is_named_with_its_log(root: Path, sick: dict[str, probes.Unhealthy]) -> None:
    entrypoint(root, init="echo no space left >&2; exit 2")

    with pytest.raises(ServiceFailed) as caught:
        made(root).up()

    assert caught.value.what == "init ended with exit code 2"
    assert caught.value.output == "init begins\nno space left"
    # What needs no init runs.
    assert service(made(root), "localstack").state == "running"
    assert service(made(root), "scheduler").state == "absent"


def test_a_service_that_ends_at_once_is_tried_again_and_named(
    root: Path, sick: dict[str, probes.Unhealthy]
) -> None:
    entrypoint(root, scheduler="exit 3")

    with pytest.raises(ServiceFailed, match="scheduler ended with exit code 3"):
        made(root).up()

    wait_until("another try", lambda: service(made(root), "scheduler").restarts > 1, timeout=20)


def test_the_scheduler_waits_for_a_healthy_localstack(root: Path, sick: dict[str, probes.Unhealthy]) -> None:
    sick["localstack"] = probes.Broken("no such bucket")
    stack = made(root)

    with pytest.raises(ServiceFailed, match="localstack is not healthy: no such bucket"):
        stack.up()

    assert service(stack, "scheduler").state == "absent"
    wait_until("what needs no LocalStack", lambda: service(stack, "postgres").ready, timeout=10)

    del sick["localstack"]
    stack.up()
    assert service(stack, "scheduler").ready


def test_while_a_start_is_watched_what_is_healthy_is_asked_no_more(
    stack: ProcessStack, sick: dict[str, probes.Unhealthy], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def probe(environment: Mapping[str, str], _: float) -> None:
        asked.append(Path(environment["TMPDIR"]).name)
        if asked[-1] == "localstack" and asked.count("localstack") < 5:
            raise probes.Unhealthy("not yet")

    for name in ("postgres", "localstack"):
        monkeypatch.setitem(probes.PROBES, name, probe)

    stack.up()

    assert asked.count("postgres") == 1
    assert asked.count("localstack") == 5


def test_logs_are_written_with_supervisords_own(running: ProcessStack, tmp_path: Path) -> None:
    running.write_logs(tmp_path / "evidence")

    assert (tmp_path / "evidence" / "init.log").read_text() == "init begins\n"
    assert "spawned: 'init'" in (tmp_path / "evidence" / "supervisord.log").read_text()


# What it is made of


def test_it_is_made_of_venvs(stack: ProcessStack, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(stack.venvs, "install", lambda say: say("installing"))

    stack.get_parts(said.append, said.append)

    assert said == ["installing"]


def test_it_is_as_good_as_its_venvs(stack: ProcessStack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not stack.has_parts()

    monkeypatch.setattr(stack.venvs, "missing", list)
    assert stack.has_parts()


# Overlays


@pytest.fixture
def replicas(root: Path, sick: dict[str, probes.Unhealthy]) -> ProcessStack:
    """A stack with an overlay of two workers."""
    overlay = root / "workers.yml"
    overlay.write_text(
        """
        services:
          worker:
            image: tunnel-airflow
            restart: always
            entrypoint: [/entrypoint.sh, worker]
            volumes: [{ type: bind, source: ./entrypoint.sh, target: /entrypoint.sh }]
            healthcheck: { test: 'test -e "$$HOME/ready"' }
            depends_on: { init: { condition: service_completed_successfully } }
        """
    )
    entrypoint(root, worker='echo "$HOME"; touch "$HOME/ready"; exec sleep 600')
    settings = made(root, overlay).settings
    return ProcessStack(dataclasses.replace(settings, scale={"worker": 2}))


def test_each_replica_is_a_process_with_a_log_and_a_folder_of_its_own(replicas: ProcessStack) -> None:
    replicas.up()

    workers = [service for service in replicas.services() if service.name == "worker"]
    assert [(worker.label, worker.health) for worker in workers] == [
        ("worker-1", "healthy"),
        ("worker-2", "healthy"),
    ]
    lines = replicas.logs("worker").splitlines()
    folders = [line for line in lines if "/worker-" in line]
    assert [(line.split()[0], Path(line).name) for line in folders] == [
        ("worker-1", "worker-1"),
        ("worker-2", "worker-2"),
    ]
    assert replicas.is_running("worker")
    assert {"worker-1", "worker-2"} <= set(replicas.memory())

    fewer = ProcessStack(dataclasses.replace(replicas.settings, scale={}))
    fewer.up()
    assert [service.label for service in fewer.services() if service.name == "worker"] == ["worker"]
    assert fewer.exec("worker", "sh", "-c", "echo $HOME").strip().endswith("/worker")

    fewer.down(volumes=True)
    assert processes.processes(fewer.layout.run) == []


def test_replicas_come_and_go_while_the_others_run_on(replicas: ProcessStack, root: Path) -> None:
    with (root / "workers.yml").open("a") as overlay:
        overlay.write("\n            scale: 1\n")
    replicas.up()

    def ids(stack: ProcessStack) -> dict[str, str]:
        return {service.label: service.id for service in stack.services() if service.name == "worker"}

    two = ids(replicas)
    three = replicas.scaled({"worker": 3})
    three.up()
    assert two.items() <= ids(three).items()
    assert list(ids(three)) == ["worker-1", "worker-2", "worker-3"]

    one = three.scaled({"worker": 1})
    one.up()
    assert ids(one) == {"worker-1": two["worker-1"]}

    none = one.scaled({"worker": 0})
    none.up()
    assert ids(none) == {}
    assert not [one for one in processes.processes(none.layout.run, "worker-1")]
    with pytest.raises(StackError, match="worker does not run"):
        none.exec("worker", "true")
    with pytest.raises(Unmet, match="there is no service wroker"):
        none.scaled({"wroker": 2})

    none.down(volumes=True)


def test_a_stack_is_down_again_with_its_replicas(replicas: ProcessStack) -> None:
    replicas.up()

    replicas.down()

    assert {service.state for service in replicas.services()} == {"absent"}
    assert processes.processes(replicas.layout.run) == []
