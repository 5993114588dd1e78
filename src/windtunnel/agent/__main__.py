"""``python -m windtunnel.agent``: the runner, and in a fork of it the agent.

Settings, as environment variables: ``AGENT_NAME``; ``AGENT_IMAGES``, patterns of the images that it runs,
separated by commas; ``AWS_ENDPOINT_URL``; ``ECS_CLUSTER``, the cluster for whose tasks of launch type EC2 it
is a container instance (``default``).
"""

import gc
import logging
import os
import socket
import sys

from windtunnel.agent import runner, working
from windtunnel.agent.metadata import Metadata
from windtunnel.agent.processes import Processes


def main() -> int:
    """Run until told to end."""
    logging.basicConfig(level=logging.INFO, format="agent: %(message)s", force=True)
    needs = (working.emulator(), working.images(), working.folder())
    gc.disable()
    runner.preload()
    gc.freeze()
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger(working.__name__).setLevel(logging.INFO)
    # The runner has it, so that its address is the same for all agents of this runner.
    listening = socket.create_server(("127.0.0.1", 0))

    def agent(orders: socket.socket, identity: str) -> None:
        processes = Processes(orders, identity, os.getppid())
        working.Agent(processes, *needs, Metadata(listening)).run()

    return runner.Runner(agent, [listening]).run()


if __name__ == "__main__":
    sys.exit(main())
