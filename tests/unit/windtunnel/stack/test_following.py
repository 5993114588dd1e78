"""The loop that scales workers, with stand-ins for CloudWatch, EventBridge and Docker."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from windtunnel.compose.stack import ComposeStack
from windtunnel.stack import aws, following, overlays
from windtunnel.stack.errors import StackError, Unmet
from windtunnel.stack.following import follow
from windtunnel.stack.scaling import Bounds, Decision

from ..conftest import problems
from ..stand_ins.aws import client
from ..stand_ins.docker import ALL_READY, CONFIGURATION, Docker, answer_stack, container

MINUTE = timedelta(minutes=1)
WITHIN = Bounds("worker", 1, 4)
AWAY = EndpointConnectionError(endpoint_url="http://localhost:4566")
DEFAULT, HEAVY = "tunnel-default", "tunnel-heavy"


def service(queues: str, concurrency: str = "4", **more: Any) -> dict[str, Any]:
    command = ["celery-worker", "--queues", queues, "--concurrency", concurrency]
    return {
        "command": command,
        "restart": "unless-stopped",
        "environment": {following.PREFIX: "tunnel-"},
        **more,
    }


class Aws:
    """What the function has measured: by time and queue, tasks that wait, tasks at work, and the load."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, 9, 5, 42, tzinfo=UTC)
        self.measured: dict[datetime, dict[str, tuple[float, float, float | None]]] = {}
        self.rules = ["load-metric"]
        self.errors: list[Exception] = []
        self.is_there = True
        self._clients = {
            "cloudwatch": client("cloudwatch", GetMetricData=self._data),
            "events": client("events", ListRules=self._rules),
        }

    def measure(self, **queues: tuple[float, float, float | None]) -> None:
        """Measure once more, a minute after the last time."""
        self.now += MINUTE
        self.measured[self.now.replace(second=0)] = {f"tunnel-{name}": one for name, one in queues.items()}

    def client(self, _: Any, service: str, **__: Any) -> Any:
        if not self.is_there:
            raise StackError("the port of localstack is not published")
        return self._clients[service]

    def _rules(self, asked: Any) -> dict[str, Any]:
        return {"Rules": [{"Name": name} for name in self.rules if name.startswith(asked["NamePrefix"])]}

    def _data(self, asked: Any) -> Any:
        if self.errors:
            return self.errors.pop()
        # Otherwise LocalStack's periods would be none of the clock's minutes.
        assert asked["StartTime"].second == asked["StartTime"].microsecond == 0
        results = []
        for query in asked["MetricDataQueries"]:
            metric = query["MetricStat"]["Metric"]
            ((_, queue),) = (dimension.values() for dimension in metric["Dimensions"])
            name = ("Waiting", "Running", "Load").index(metric["MetricName"])
            points = [
                (time, queues[queue][name])
                for time, queues in self.measured.items()
                if asked["StartTime"] <= time < asked["EndTime"] and queue in queues
            ]
            found = [(time, value) for time, value in points if value is not None]
            results.append(
                {
                    "Id": query["Id"],
                    "Timestamps": [time for time, _ in found],
                    "Values": [value for _, value in found],
                }
            )
        return {"MetricDataResults": results}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Aws:
    made = Aws()

    class Clock(datetime):
        @classmethod
        def now(cls, _: Any = None) -> datetime:  # type: ignore[override]
            return made.now

    monkeypatch.setattr(following, "datetime", Clock)
    monkeypatch.setattr(following, "LOOK", 0.001)
    monkeypatch.setattr(aws, "client", made.client)
    return made


@pytest.fixture
def stack(compose: ComposeStack, docker: Docker, monkeypatch: pytest.MonkeyPatch) -> ComposeStack:
    """A stack with a worker of the queue default, and none of the queue heavy."""
    services: Any = {
        **CONFIGURATION["services"],  # type: ignore[dict-item]
        "worker": service("default", scale=1),
        "heavy-worker": service("heavy", "1", scale=0),
        "both-worker": service("default,heavy", scale=0),
        "triggerer": {"restart": "unless-stopped"},
    }
    monkeypatch.setattr(ComposeStack, "configuration", {**CONFIGURATION, "services": services})
    workers = [container(name) for name in services if "worker" in name]
    answer_stack(docker, [*ALL_READY, *workers, container("triggerer")])
    docker.answers("compose up", "")
    return compose


def scalings(docker: Docker) -> list[str]:
    return [part for call in docker.calls for part in call.split() if part.startswith("--scale=")]


def test_workers_follow_the_tasks(
    stack: ComposeStack, measured: Aws, docker: Docker, said: list[str]
) -> None:
    decisions = follow(stack, WITHIN, said.append)
    numbers = []
    for waiting, running in [(0, 2), (7, 4), (96, 4), (0, 0), (0, 0), (0, 0), (0, 0)]:
        measured.measure(default=(waiting, running, 1.0), heavy=(50, 0, None))
        decision = next(decisions)
        numbers.append((decision.before, decision.after))
        assert decision.datapoint.waiting == waiting

    assert numbers == [(1, 1), (1, 3), (3, 4), (4, 4), (4, 4), (4, 3), (3, 3)]
    assert scalings(docker) == ["--scale=worker=3", "--scale=worker=4", "--scale=worker=3"]
    # Others stay as they are.
    assert all(call.endswith("--no-deps worker") for call in docker.calls if call.startswith("compose up"))
    assert said == ["worker follows tunnel-default, a decision a minute. Ctrl-C: the workers stay"]


def test_what_was_decided_is_done_when_the_next_decision_is_asked_for(
    stack: ComposeStack, measured: Aws, docker: Docker
) -> None:
    measured.measure(default=(96, 4, 25.0))
    decisions = follow(stack, WITHIN, print)

    next(decisions)

    assert scalings(docker) == []


def test_a_datapoint_counts_once_and_an_old_one_not_at_all(
    stack: ComposeStack, measured: Aws, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    measured.measure(default=(0, 1, 0.25))
    measured.measure(default=(0, 2, 0.5))
    decisions = follow(stack, WITHIN, said.append)

    # The newest.
    assert next(decisions).datapoint.running == 2
    # Then none, until there is another.
    looks = iter([None, None])

    def look_again(*_: Any) -> Any:
        if next(looks, "over") == "over":
            measured.measure(default=(0, 3, 0.75))
        return original(*_)

    original = following.newest
    monkeypatch.setattr(following, "newest", look_again)
    assert next(decisions).datapoint.running == 3
    assert next(looks, "over") == "over"


def test_from_nobody_the_first_task_brings_a_worker(stack: ComposeStack, measured: Aws) -> None:
    decisions = follow(stack, Bounds("heavy-worker", 0, 2), print)
    measured.measure(default=(0, 0, 0), heavy=(0, 0, None))
    assert next(decisions).after == 0

    measured.measure(default=(0, 0, 0), heavy=(1, 0, None))
    decision = next(decisions)

    assert (decision.before, decision.after, decision.datapoint.load) == (0, 1, None)


def test_queues_of_one_service_are_added_up(stack: ComposeStack, measured: Aws) -> None:
    measured.measure(default=(5, 4, 2.25), heavy=(2, 0, 0.5))

    point = next(follow(stack, Bounds("both-worker", 1, 4), print)).datapoint

    assert (point.waiting, point.running, point.load) == (7, 4, 2.75)


def test_a_queue_that_is_not_there_yet_counts_nothing(stack: ComposeStack, measured: Aws) -> None:
    measured.measure(default=(5, 4, 2.25))

    decision: Decision = next(follow(stack, Bounds("both-worker", 1, 4), print))

    assert (decision.datapoint.waiting, decision.after) == (5, 3)


def test_a_scaling_by_hand_is_seen_and_datapoints_before_it_do_not_count(
    stack: ComposeStack, measured: Aws
) -> None:
    decisions = follow(stack, WITHIN, print)
    numbers = []
    for number in range(6):
        if number == 2:
            overlays.remember(replace(stack.settings, scale={"worker": 3}))
        measured.measure(default=(0, 0, 0))
        decision = next(decisions)
        numbers.append((decision.before, decision.after))

    assert numbers == [(1, 1), (1, 1), (3, 3), (3, 3), (3, 2), (2, 2)]


def test_without_a_datapoint_that_is_said_and_it_goes_on(
    stack: ComposeStack, measured: Aws, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(following, "PATIENCE", 0.01)

    def on_line(line: str) -> None:
        said.append(line)
        if len(said) == 2:
            measured.measure(default=(0, 2, 0.5))

    decisions = follow(stack, WITHIN, on_line)

    assert next(decisions).datapoint.running == 2
    _, line = said
    assert line.startswith("no datapoint of tunnel-default for 0 s: the number of workers stays")


def test_a_cloudwatch_that_does_not_answer_is_asked_again(stack: ComposeStack, measured: Aws) -> None:
    measured.measure(default=(0, 2, 0.5))
    measured.errors = [AWAY, AWAY]

    assert next(follow(stack, WITHIN, print)).datapoint.running == 2
    assert measured.errors == []


def test_why_it_does_not_answer_is_said(
    stack: ComposeStack, measured: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PATIENCE", 0.01)
    measured.errors = [AWAY] * 1000

    class Said(Exception):
        """The loop would go on."""

    def on_line(line: str) -> None:
        if "no datapoint" in line:
            assert "Could not connect to the endpoint URL" in line
            raise Said

    with pytest.raises(Said):
        next(follow(stack, WITHIN, on_line))


def test_a_localstack_that_starts_again_is_waited_for(
    stack: ComposeStack, measured: Aws, docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    decisions = follow(stack, WITHIN, print)
    measured.measure(default=(0, 2, 0.5))
    assert next(decisions)
    measured.measure(default=(0, 3, 0.5))
    measured.is_there = False
    is_there = ComposeStack.is_there

    def back(stack: ComposeStack) -> bool:
        measured.is_there = True
        return is_there(stack)

    monkeypatch.setattr(ComposeStack, "is_there", back)

    assert next(decisions).datapoint.running == 3


def test_it_ends_with_the_stack(stack: ComposeStack, measured: Aws, docker: Docker) -> None:
    decisions = follow(stack, WITHIN, print)
    measured.measure(default=(0, 2, 0.5))
    assert next(decisions)
    measured.is_there = False
    answer_stack(docker, [])

    with pytest.raises(StackError, match="localstack is not published"):
        next(decisions)


def test_a_stack_that_ends_between_is_not_started_again(
    stack: ComposeStack, measured: Aws, docker: Docker
) -> None:
    measured.measure(default=(96, 4, 25.0))
    decisions = follow(stack, WITHIN, print)
    answer_stack(docker, [])

    with pytest.raises(StackError, match="the stack tunnel does not run any more"):
        next(decisions)

    assert scalings(docker) == []


def test_workers_that_do_not_start_end_nothing(
    stack: ComposeStack, measured: Aws, docker: Docker, said: list[str]
) -> None:
    docker.answers("compose up", code=1, errors="no space left")
    decisions = follow(stack, WITHIN, said.append)
    measured.measure(default=(96, 4, 25.0))
    assert next(decisions).after == 4
    measured.measure(default=(90, 4, 23.5))

    assert next(decisions).datapoint.waiting == 90

    _, line = said
    assert "docker compose up failed" in line
    assert "The next datapoint decides again." in line


@pytest.mark.bad_input(82)
@pytest.mark.parametrize(
    ("within", "problem", "remedy"),
    [
        (Bounds("wroker", 1, 4), "there is no service wroker to scale", "Did you mean worker?"),
        (Bounds("webserver", 1, 2), "only one webserver can run", "Scale another service."),
        (
            Bounds("triggerer", 1, 2),
            "triggerer has no queue whose load it could follow",
            "Name one of worker, heavy-worker, both-worker",
        ),
    ],
)
def test_what_has_no_queue_is_refused(
    stack: ComposeStack, measured: Aws, within: Bounds, problem: str, remedy: str
) -> None:
    with pytest.raises(Unmet, match=problem) as refused:
        next(follow(stack, within, print))

    (finding,) = refused.value.findings
    assert remedy in finding.remedy


@pytest.mark.bad_input(82)
def test_a_stack_without_workers_is_refused(compose: ComposeStack, measured: Aws) -> None:
    with pytest.raises(Unmet) as refused:
        next(follow(compose, WITHIN, print))

    (finding,) = refused.value.findings
    assert finding.problem == "no service of this stack is a worker of Celery"
    assert "up --with celery" in finding.remedy


@pytest.mark.bad_input(82)
def test_a_queue_that_nothing_measures_is_refused(stack: ComposeStack, measured: Aws) -> None:
    measured.rules = ["load-metric-of-mine"]

    with pytest.raises(Unmet, match="nothing measures the load of default") as refused:
        next(follow(stack, WITHIN, print))

    assert "up --with celery" in refused.value.findings[0].remedy


@pytest.mark.bad_input(76)
def test_workers_without_a_slot_are_refused(
    stack: ComposeStack, measured: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = {**stack.configuration["services"], "worker": service("default", "0")}
    monkeypatch.setattr(ComposeStack, "configuration", {**CONFIGURATION, "services": services})

    with pytest.raises(Unmet) as refused:
        next(follow(stack, WITHIN, print))

    assert problems(refused.value.findings) == ["the concurrency of worker is '0'"]
