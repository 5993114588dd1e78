"""One service of a stack, whichever engine runs it."""

from dataclasses import dataclass

from windtunnel.services.probes import SEEDING


@dataclass(frozen=True)
class Service:
    """One service of the stack as it is now, or one replica of it."""

    name: str
    id: str = ""  # the container's, or the process's
    # Docker's words: created, running, restarting, exited, paused, dead; "absent" if there is nothing.
    state: str = "absent"
    health: str = ""  # starting, healthy or unhealthy; empty for a service without a health check
    exit_code: int = 0
    one_shot: bool = False  # whether it is to end by itself, as `init` is
    started_at: str = ""
    restarts: int = 0  # how often it has ended by itself and was started again since `up`
    # The health check's last run: when, its output, and whether it says that waiting will not help.
    probed_at: str = ""
    health_output: str = ""
    definite: bool = False
    replica: int = 0  # from 1 on if the service has several replicas

    @property
    def label(self) -> str:
        """The name, for replicas with their number: ``worker-2``."""
        return f"{self.name}-{self.replica}" if self.replica else self.name

    @property
    def ready(self) -> bool:
        """Whether it does what it promises: it is healthy, or a one-shot that has done its work."""
        if self.one_shot:
            return self.state == "exited" and self.exit_code == 0
        return self.state == "running" and self.health in ("", "healthy")

    @property
    def failed(self) -> str:
        """Why it cannot become ready by waiting; empty if it may."""
        if self.state in ("exited", "restarting", "dead") and not self.ready:
            return f"ended with exit code {self.exit_code}"
        if self.definite or self.health == "unhealthy":
            return f"is not healthy: {self.health_output}"
        return ""

    @property
    def progress(self) -> str:
        """What it does before it is healthy, if it says so; else its summary."""
        if self.health == "starting" and self.health_output.startswith(SEEDING):
            return self.health_output.removeprefix(SEEDING)
        return self.summary

    @property
    def summary(self) -> str:
        """State in a word or two: ``healthy``, ``starting``, ``done``, ``exited with code 2``."""
        if self.state == "exited":
            return "done" if self.ready else f"exited with code {self.exit_code}"
        return self.health if self.state == "running" and self.health else self.state
