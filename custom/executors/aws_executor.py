"""What the amazon provider's executors have in common here."""

from custom.executors.deferral_aware import DeferralAware
from custom.executors.external_executor_id import ExternalExecutorId
from custom.executors.task_events import TaskEvents


class AwsExecutor(DeferralAware, ExternalExecutorId, TaskEvents):
    """To be put before an executor of the provider's among the bases of a class."""

    def end(self, heartbeat_interval: int = 10) -> None:
        """Leave tasks to themselves when the scheduler ends: the next one adopts them.

        The provider's waits until all have ended, which may be hours; the grace period of the scheduler's
        container ends that wait.
        """
        self.sync()  # type: ignore[attr-defined]
