"""Batch as its callers have it, with a stand-in for the agent."""

import itertools
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from localstack.aws.forwarder import create_aws_request_context

from windtunnel_emulator import control_planes
from windtunnel_emulator.batch import environments, operations, task_definitions
from windtunnel_emulator.batch.scheduler import Scheduler
from windtunnel_emulator.containers.work import Work, WorkQueue

REGION = "ap-southeast-2"
IMAGES = ["windtunnel-airflow"]

# moto keeps its records for the whole process: each test has an account of its own.
ACCOUNTS = itertools.count(100_000_000_000)


class Refused(Exception):
    """An answer with an error: code and message."""


class Batch:
    """Calls operations as LocalStack does: answers are made by botocore's model."""

    def __init__(self, queue: WorkQueue) -> None:
        self.account = str(next(ACCOUNTS))
        self.queue = queue
        self._services = {
            name: getattr(control_planes, name).factory().create_service() for name in ("batch", "ecs")
        }

    def __call__(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return self.ask("batch", operation, **parameters)

    def ask(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call Batch or another service that it works with."""
        context = create_aws_request_context(service, operation, parameters=parameters, region=REGION)
        context.account_id, context.region = self.account, REGION
        credential = f"Credential={self.account}/20300101/{REGION}/{service}/aws4_request"
        context.request.headers.update(
            {"x-moto-account-id": self.account, "Authorization": f"AWS4-HMAC-SHA256 {credential}"}
        )
        answer = self._services[service].skeleton.invoke(context)
        content: dict[str, Any] = json.loads(answer.get_data() or "{}")
        if answer.status_code >= 400:
            raise Refused(answer.headers["x-amzn-errortype"], content["message"])
        return content

    def environment(self, name: str = "small", vcpus: int = 2, kind: str = "EC2") -> None:
        resources = {"type": kind, "maxvCpus": vcpus, "subnets": ["subnet-any"]}
        self(
            "CreateComputeEnvironment",
            computeEnvironmentName=name,
            type="MANAGED",
            computeResources=resources,
        )

    def job_queue(self, name: str = "normal", priority: int = 1, environment: str = "small") -> None:
        order = [{"order": 1, "computeEnvironment": environment}]
        self("CreateJobQueue", jobQueueName=name, priority=priority, computeEnvironmentOrder=order)

    def definition(self, name: str = "report", more: dict[str, Any] | None = None, **own: Any) -> str:
        container = {"image": "windtunnel-airflow", "command": ["true"], "vcpus": 1, "memory": 64, **own}
        answer = self(
            "RegisterJobDefinition",
            jobDefinitionName=name,
            type="container",
            containerProperties={key: value for key, value in container.items() if value is not None},
            **(more or {}),
        )
        return str(answer["jobDefinitionArn"])

    def submit(
        self, name: str = "one", queue: str = "normal", definition: str = "report", **more: Any
    ) -> str:
        given = {"jobName": name, "jobQueue": queue, "jobDefinition": definition, **more}
        return str(self("SubmitJob", **given)["jobId"])

    def job(self, identifier: str) -> dict[str, Any]:
        (found,) = self("DescribeJobs", jobs=[identifier])["jobs"]
        return dict(found)

    def status(self, identifier: str) -> str:
        return str(self.job(identifier)["status"])


class Agent:
    """Takes all work there is, and reports what a test says."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue
        self.held: dict[str, Work] = {}

    def take(self) -> list[Work]:
        """Return the work that is new."""
        start, _ = self._queue.poll("agent", IMAGES, set(self.held), timeout=0)
        self.held |= {work.id: work for work in start}
        return start

    def asked_to_stop(self) -> list[str]:
        _, stop = self._queue.poll("agent", IMAGES, set(self.held), timeout=0)
        return [wish["id"] for wish in stop]

    def run(self, work: Work) -> None:
        started = time.time()
        state = {"status": "RUNNING", "started": started, "containers": {"default": {"status": "RUNNING"}}}
        self._queue.report(work.id, state)

    def end(self, work: Work, code: int = 0, why: str = "EssentialContainerExited", reason: str = "") -> None:
        """Report the end of work that ran."""
        now = time.time()
        state = {
            "status": "STOPPED",
            "started": work.state.get("started", now - 1),
            "stopped": now,
            "code": why,
            "reason": reason or "Essential container in task exited",
            "containers": {"default": {"status": "STOPPED", "exit_code": code}},
        }
        self._queue.report(work.id, state)
        del self.held[work.id]

    def cannot_start(self, work: Work, reason: str) -> None:
        failed = {"status": "STOPPED", "code": "TaskFailedToStart", "reason": reason, "stopped": time.time()}
        self._queue.report(work.id, {**failed, "containers": {}})
        del self.held[work.id]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time: its only element."""
    now = [1_800_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Batch]:
    """Batch with one small compute environment, a queue and a definition; its scheduler has no thread."""
    queue = WorkQueue(tmp_path)
    scheduler = Scheduler(queue, environments.backend, tmp_path)
    monkeypatch.setattr(operations, "scheduler", lambda: scheduler)
    made = Batch(queue)

    def clients(aws_access_key_id: str, region_name: str) -> SimpleNamespace:
        """What Batch itself calls ECS by."""
        assert (aws_access_key_id, region_name) == (made.account, REGION)
        register = partial(made.ask, "ecs", "RegisterTaskDefinition")
        return SimpleNamespace(ecs=SimpleNamespace(register_task_definition=register))

    monkeypatch.setattr(task_definitions, "connect_to", clients)
    made.environment()
    made.job_queue()
    made.definition()
    yield made
    scheduler.close()
    queue.close()


@pytest.fixture
def agent(batch: Batch) -> Agent:
    return Agent(batch.queue)
