"""The amazon provider's executor for ECS, for this stack."""

from airflow.providers.amazon.aws.executors.ecs import AwsEcsExecutor as ProvidersEcsExecutor

from custom.executors.deferral_aware import DeferralAware


class AwsEcsExecutor(DeferralAware, ProvidersEcsExecutor):
    """Runs each task as a task of ECS."""

    def end(self, heartbeat_interval: int = 10) -> None:
        """Leave tasks to themselves when the scheduler ends: the next one adopts them.

        The provider's waits until all have ended, which may be hours; the grace period of the scheduler's
        container ends that wait.
        """
        self.sync()  # type: ignore[no-untyped-call]
