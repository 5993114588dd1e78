"""The agent: runs the containers of ECS and Batch, as Amazon's ECS container agent does.

It asks the emulator for work, runs it, ships its output to CloudWatch Logs and reports each state.
Containers are processes of the Airflow environment, or real ones with Docker. Nobody calls the agent, and it
needs neither the database nor the stack's secrets.
"""

from collections.abc import Mapping
from pathlib import Path


def heartbeat(variables: Mapping[str, str]) -> Path:
    """Return the file that an agent with these variables touches at each answer of the emulator."""
    return Path(variables.get("TMPDIR", "/tmp")) / "agent-heartbeat"  # noqa: S108 - in its container
