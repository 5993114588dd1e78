"""The provider's executor for Batch, as this stack has it."""

import pytest

from custom.executors.aws_batch_executor import AwsBatchExecutor
from custom.executors.deferral_aware import DeferralAware


def test_the_end_of_the_scheduler_does_not_wait_for_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(AwsBatchExecutor, "sync", lambda self: looks.append(1))
    # Without a connection to Batch, which the provider makes at once; a job runs.
    executor = object.__new__(AwsBatchExecutor)
    executor.active_workers = ["job"]  # type: ignore[assignment]

    executor.end()

    assert looks == [1]


def test_deferrals_are_seen_to_before_the_providers_own_scheduling() -> None:
    own = AwsBatchExecutor._get_workloads_to_schedule

    assert own is DeferralAware._get_workloads_to_schedule
