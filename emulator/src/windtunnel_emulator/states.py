"""How jobs and clusters of a control plane pass through their states, so that whoever waits for them ends.

moto moves some of its models on: of those, this names the ones that would jump to their last state. Its other
models stay in one state for ever: where a waiter of Airflow's provider waits for another, the state becomes
one of those that moto moves on. A state lasts a second at least, and each look moves it on by one at most.
Runs inside LocalStack.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from moto.moto_api import state_manager
from moto.moto_api._internal.managed_state_model import ManagedState

EACH_SECOND = {"progression": "time", "seconds": 1}

# Which state follows which.
type Steps = Sequence[tuple[str, str]]

# By service: names of models that moto moves on, but all the way at once, or not with every look.
AT_ONCE: Mapping[str, Sequence[str]] = {
    "athena": ["athena::execution"],
    "databrew": ["databrew::run"],
    "glue": ["glue::crawl", "glue::job_run"],
}


def _of_cluster(cluster: Any) -> Steps:
    # moto sets the state before it knows whether the cluster stays.
    if getattr(cluster, "keep_job_flow_alive_when_no_steps", True):
        return [("RUNNING", "WAITING")]
    return [("RUNNING", "TERMINATING"), ("WAITING", "TERMINATING"), ("TERMINATING", "TERMINATED")]


def _of_replication(task: Any) -> Steps:
    steps = [("creating", "ready"), ("starting", "running")]
    return [*steps, ("running", "stopped")] if task.migration_type == "full-load" else steps


# By service: a class of moto's, its attribute, and the steps, which may depend on the single object.
FOR_EVER: Mapping[str, Sequence[tuple[str, str, Steps | Callable[[Any], Steps]]]] = {
    "bedrock": [("bedrock.models.ModelCustomizationJob", "status", [("InProgress", "Completed")])],
    # AWS spells it in capitals.
    "bedrock-agent": [("bedrockagent.models.KnowledgeBase", "status", [("Active", "ACTIVE")])],
    "comprehend": [
        (
            "comprehend.models.ComprehendJob",
            "job_status",
            [("SUBMITTED", "IN_PROGRESS"), ("IN_PROGRESS", "COMPLETED"), ("STOP_REQUESTED", "STOPPED")],
        ),
        (
            "comprehend.models.DocumentClassifier",
            "status",
            [("TRAINING", "TRAINED"), ("STOP_REQUESTED", "STOPPED")],
        ),
    ],
    "dms": [("dms.models.FakeReplicationTask", "status", _of_replication)],
    "emr": [
        ("emr.models.Step", "state", [("PENDING", "RUNNING"), ("RUNNING", "COMPLETED")]),
        ("emr.models.Cluster", "state", _of_cluster),
    ],
    "emr-containers": [("emrcontainers.models.FakeJob", "state", [("RUNNING", "COMPLETED")])],
    "kinesisanalyticsv2": [
        ("kinesisanalyticsv2.models.Application", "application_status", [("STARTING", "READY")])
    ],
    "redshift-data": [("redshiftdata.models.Statement", "status", [("STARTED", "FINISHED")])],
}


def prepare(service: str) -> None:
    """Let the models of a service pass through their states; call it before the service's first call."""
    for model in AT_ONCE.get(service, ()):
        state_manager.set_transition(model, EACH_SECOND)
    for path, attribute, steps in FOR_EVER.get(service, ()):
        module, _, name = path.rpartition(".")
        model = f"{service}::{name}"
        state_manager.set_transition(model, EACH_SECOND)
        setattr(getattr(import_module(f"moto.{module}"), name), attribute, _Passing(model, attribute, steps))


class _Passing:
    """An attribute with a state, of which moto's ``ManagedState`` says what it is now."""

    def __init__(self, model: str, attribute: str, steps: Steps | Callable[[Any], Steps]) -> None:
        self._model = model
        self._attribute = attribute
        self._steps = steps

    def __get__(self, owner: Any, _: type) -> Any:
        return self if owner is None else vars(owner)[self._attribute].status

    def __set__(self, owner: Any, value: str) -> None:
        steps = self._steps(owner) if callable(self._steps) else self._steps
        state = ManagedState(self._model, [*steps])
        state.status = value
        vars(owner)[self._attribute] = state
