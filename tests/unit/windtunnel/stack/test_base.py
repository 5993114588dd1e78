import contextlib
import dataclasses
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from windtunnel.stack.base import Stack
from windtunnel.stack.commands import tail
from windtunnel.stack.errors import ServiceFailed, StackError
from windtunnel.stack.service import Service
from windtunnel.stack.settings import Settings
from windtunnel.stack.start import Advance, Progress

# `cache` waits for nothing, `app` for the database, `page` for the app.
CONFIGURATION = {
    "name": "tunnel",
    "services": {
        "page": {"depends_on": {"app": {}}},
        "app": {"depends_on": {"db": {}}},
        "db": {},
        "cache": {},
    },
}


class Scripted(Stack):
    """An engine that shows one prepared state of its services after the other."""

    engine = "scripted"
    configuration = CONFIGURATION

    def __init__(
        self, *looks: list[Service], progress: Sequence[Progress] = (Progress(done=True),), **options: Any
    ) -> None:
        super().__init__(Settings.of(**options))
        self._looks = list(looks)
        self._progress = list(progress)
        # What the start was told of the services, look by look.
        self.told: list[Sequence[Service]] = []
        self.ended = False

    def services(self) -> list[Service]:
        found = {service.name: service for service in self._next(self._looks)}
        return [found.get(name, Service(name)) for name in self.service_names]

    @contextlib.contextmanager
    def _starting(self, on_line: Callable[[str], None], names: Collection[str]) -> Iterator[Advance]:
        def advance(services: Sequence[Service]) -> Progress:
            self.told.append(services)
            progress: Progress = self._next(self._progress)
            return progress

        try:
            yield advance
        finally:
            self.ended = True

    @staticmethod
    def _next(prepared: list[Any]) -> Any:
        return prepared.pop(0) if len(prepared) > 1 else prepared[0]

    def memory(self) -> dict[str, float]:
        raise NotImplementedError

    def logs(self, *services: str, tail: int | None = None, timestamps: bool = False) -> str:
        return f"{tail} lines of {', '.join(services)}{' with times' if timestamps else ''}\n"

    def exec(self, service: str, *argv: str, stdin: str | None = None) -> str:
        return f'noise\n["{service}", "{" ".join(argv)}"]\n'

    def port(self, service: str) -> int:
        return 49152

    def _remove(self, volumes: bool) -> None:
        raise NotImplementedError

    def _unused(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    is_there = get_engine = findings = port_holder = has_parts = get_parts = get_test_tools = _unused
    test_command = ask_unstarted = resource_findings = _unused

    def variables(self, service: str) -> Mapping[str, str]:
        raise NotImplementedError

    def run_in(
        self, service: str, *argv: str, on_line: Callable[[str], None], what: str, next_step: str
    ) -> None:
        raise NotImplementedError

    def show_logs(
        self, service: str | None, *, follow: bool, tail: int | None, on_line: Callable[[str], None]
    ) -> None:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windtunnel.stack.start.POLL", 0.001)


def healthy(name: str, **changed: Any) -> Service:
    return dataclasses.replace(
        Service(name, id=f"id-{name}", state="running", health="healthy", started_at="11:00"), **changed
    )


def starting(name: str, **changed: Any) -> Service:
    return healthy(name, health="starting", **changed)


ALL = [healthy(name) for name in ("db", "cache", "app", "page")]


def but(*changed: Service) -> list[Service]:
    """All healthy, but for these."""
    return [*(service for service in ALL if service.name not in {one.name for one in changed}), *changed]


# The state of a service


@pytest.mark.parametrize(
    ("service", "ready", "failed", "summary"),
    [
        (Service("s", state="running", health="healthy"), True, "", "healthy"),
        (Service("s", state="running", health="starting"), False, "", "starting"),
        (
            Service("s", state="running", health="unhealthy", health_output="no heartbeat"),
            False,
            "is not healthy: no heartbeat",
            "unhealthy",
        ),
        (
            Service("s", state="running", health="starting", definite=True, health_output="seeding failed"),
            False,
            "is not healthy: seeding failed",
            "starting",
        ),
        (Service("s", state="restarting", exit_code=2), False, "ended with exit code 2", "restarting"),
        (Service("s", state="exited", exit_code=0), False, "ended with exit code 0", "exited with code 0"),
        (Service("s", state="exited", one_shot=True), True, "", "done"),
        (Service("s", state="running", one_shot=True), False, "", "running"),
        (
            Service("s", state="exited", one_shot=True, exit_code=1),
            False,
            "ended with exit code 1",
            "exited with code 1",
        ),
        (Service("s"), False, "", "absent"),
    ],
)
def test_state(service: Service, ready: bool, failed: str, summary: str) -> None:
    assert (service.ready, service.failed, service.summary) == (ready, failed, summary)


# Starting


def test_services_come_in_the_order_in_which_they_start() -> None:
    assert Scripted([]).service_names == ["cache", "db", "app", "page"]


def test_up_tells_each_change_once_and_ends_when_all_are_ready() -> None:
    stack = Scripted([], [starting("db")], [healthy("db")], [healthy("db")], ALL)
    lines: list[str] = []

    stack.up(lines.append)

    assert [line.split()[:2] for line in lines] == [
        ["db", "starting"],
        ["db", "healthy"],
        ["cache", "healthy"],
        ["app", "healthy"],
        ["page", "healthy"],
    ]
    assert stack.ended


def test_up_says_what_a_service_does_before_it_is_healthy() -> None:
    installing = starting("cache", health_output="still seeding: installing lambdas/a/requirements.txt")
    stack = Scripted([], but(starting("cache")), but(installing), but(installing), ALL)
    lines: list[str] = []

    stack.up(lines.append)

    assert [line.rsplit(maxsplit=2)[0] for line in lines if line.startswith("cache")] == [
        f"{'cache':<14} {said}" for said in ("starting", "installing lambdas/a/requirements.txt", "healthy")
    ]


def test_up_goes_on_with_the_start_by_what_was_seen_last() -> None:
    stack = Scripted([], [healthy("db")], ALL, progress=[Progress(), Progress(done=True)])

    stack.up()

    states = [{service.name for service in told if service.ready} for told in stack.told]
    assert states == [set(), {"db"}]


def test_up_does_not_end_before_everything_is_started() -> None:
    # What was ready before may be about to be replaced.
    stack = Scripted(ALL, progress=[Progress(), Progress(), Progress(done=True)])

    stack.up()

    assert len(stack.told) == 3


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (healthy("app", state="restarting", health="", exit_code=2), "app ended with exit code 2"),
        (healthy("app", state="dead", health="", exit_code=1), "app ended with exit code 1"),
        (healthy("app", health="unhealthy", health_output="no answer"), "app is not healthy: no answer"),
    ],
)
def test_up_names_what_cannot_become_ready_and_shows_its_log(broken: Service, what: str) -> None:
    stack = Scripted([], but(broken))

    with pytest.raises(ServiceFailed) as caught:
        stack.up()

    assert (caught.value.service, caught.value.what) == ("app", what)
    assert caught.value.output == "15 lines of app"
    assert "./windtunnel logs app" in caught.value.next_step
    assert stack.ended


def test_a_definite_failure_needs_no_log() -> None:
    broken = starting("app", definite=True, health_output="no such bucket")

    with pytest.raises(ServiceFailed, match="app is not healthy: no such bucket") as caught:
        Scripted([], but(broken)).up()

    assert caught.value.output == ""


def test_after_a_failure_what_does_not_depend_on_it_goes_on() -> None:
    # GIVEN a database that fails while the cache is not even started
    failed = healthy("db", state="exited", health="", exit_code=1)
    stack = Scripted([], [failed], [failed, starting("cache")], progress=[Progress()])
    lines: list[str] = []

    # WHEN the stack is started
    with pytest.raises(ServiceFailed, match="db ended with exit code 1"):
        stack.up(lines.append)

    # THEN it ends when the cache is started, and not only when what waits for the database is
    assert [line.split()[0] for line in lines] == ["db", "cache"]


def test_at_the_end_of_the_start_a_failure_is_told_whatever_is_missing() -> None:
    failed = healthy("db", state="exited", health="", exit_code=1)

    with pytest.raises(ServiceFailed, match="db ended"):
        Scripted([], [failed]).up()


def test_an_engine_that_cannot_go_on_says_why() -> None:
    stack = Scripted([], [starting("db")], progress=[Progress(error=StackError("no disk"))])

    with pytest.raises(StackError, match="no disk") as caught:
        stack.up()

    assert not isinstance(caught.value, ServiceFailed)


def test_of_an_engine_that_cannot_go_on_the_failed_service_is_the_better_reason() -> None:
    failed = healthy("db", state="exited", health="", exit_code=1)
    stack = Scripted([failed], progress=[Progress(error=StackError("dependency failed to start"))])

    with pytest.raises(ServiceFailed, match="db ended with exit code 1"):
        stack.up()


def test_up_gives_up_and_names_the_first_that_is_late() -> None:
    late = but(starting("app", health_output="no heartbeat"), starting("page"))

    with pytest.raises(ServiceFailed, match=r"app is not ready after 0\.05 s: no heartbeat"):
        Scripted([], late).up(timeout=0.05)


def test_an_answer_of_a_health_check_from_before_is_no_failure() -> None:
    # The same process, mended since: its next probe will tell.
    old = healthy("app", health="unhealthy", health_output="import error", probed_at="10:59")
    stack = Scripted(but(old), but(old), ALL, progress=[Progress(done=True)])

    stack.up()


def test_the_same_answer_given_anew_is_a_failure() -> None:
    old = healthy("app", health="unhealthy", health_output="import error", probed_at="10:59")
    stack = Scripted(but(old), but(dataclasses.replace(old, probed_at="11:01")))

    with pytest.raises(ServiceFailed, match="import error"):
        stack.up()


def test_what_the_engine_stops_it_replaces() -> None:
    stopped = healthy("app", state="exited", health="", exit_code=143)
    renewed = healthy("app", id="id-new", started_at="11:30")
    stack = Scripted(ALL, but(stopped), but(renewed), progress=[Progress(), Progress(done=True)])
    lines: list[str] = []

    stack.up(lines.append)

    assert lines == [], "nothing of that is worth a line: it was healthy, and is"


# Commands


def test_a_command_runs_in_the_checkout_with_the_stacks_settings(checkout: Path) -> None:
    stack = Scripted([], root=checkout, variables={"WEBSERVER_PORT": "80"})

    assert stack.run("sh", "-c", 'echo "$PWD $WEBSERVER_PORT"', what="asking") == f"{checkout} 80\n"
    assert stack.run("/usr/bin/env", what="asking", env={"ONLY": "this"}) == "ONLY=this\n"
    assert stack.run("cat", what="asking", stdin="secret") == "secret"


def test_a_command_that_fails_ends_with_its_last_words() -> None:
    stack = Scripted([])
    program = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    lines: list[str] = []

    with pytest.raises(StackError) as caught:
        stack.run(sys.executable, "-c", program, what="it", next_step="Mend it.")
    assert str(caught.value) == "it failed (exit code 3)\nerr\nMend it."

    with pytest.raises(StackError) as caught:
        stack.stream(sys.executable, "-uc", program, what="it", on_line=lines.append)
    assert caught.value.output == "out\nerr"
    assert lines == ["out", "err"]


def test_a_tail_is_short() -> None:
    assert tail("\n".join(map(str, range(100))) + "\n\n").splitlines() == [str(n) for n in range(85, 100)]


# What is asked


def test_what_is_asked_inside_is_answered_on_the_last_line() -> None:
    stack = Scripted([])

    assert stack.ask("scheduler", "aws", "one") == [
        "scheduler",
        "python -m windtunnel.services.answers aws one",
    ]
    assert stack.login()[0] == "webserver"


def test_addresses() -> None:
    stack = Scripted([])

    assert stack.address("webserver") == "http://127.0.0.1:49152"
    assert stack.address("postgres") == "127.0.0.1:49152"


def test_whether_a_service_runs() -> None:
    stack = Scripted(but(starting("app"), Service("page", state="exited")))

    assert stack.is_running("app")
    assert not stack.is_running("page")
    assert not stack.is_running("nosuch")


def test_logs_are_written_to_a_file_of_each_service(tmp_path: Path) -> None:
    Scripted([]).write_logs(tmp_path / "evidence")

    files = {path.name: path.read_text() for path in (tmp_path / "evidence").iterdir()}
    assert sorted(files) == ["app.log", "cache.log", "db.log", "page.log"]
    assert files["app.log"] == "None lines of app with times\n"
