"""The amazon provider's executor for Batch, for this stack."""

from airflow.providers.amazon.aws.executors.batch import AwsBatchExecutor as ProvidersBatchExecutor

from custom.executors.deferral_aware import DeferralAware


class AwsBatchExecutor(DeferralAware, ProvidersBatchExecutor):
    """Runs each task as a job of Batch."""

    def end(self, heartbeat_interval: int = 10) -> None:
        """Leave jobs to themselves when the scheduler ends: the next one adopts them.

        The provider's waits until all have ended, which may be hours; the grace period of the scheduler's
        container ends that wait.
        """
        self.sync()
