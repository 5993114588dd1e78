"""``python -m windtunnel.docker_agent``: the agent with Docker, and the proxy before Docker's socket.

Settings, as environment variables: those of ``windtunnel.agent``. Docker's socket is at ``/var/run/docker.sock``.
"""

import logging
import socket
import sys

from windtunnel.agent import working
from windtunnel.agent.metadata import Metadata
from windtunnel.docker_agent import place as places
from windtunnel.docker_agent import proxy
from windtunnel.docker_agent.runtime import DockerRuntime

LOG = logging.getLogger(__name__)

# Where containers ask about themselves; the same one for every agent, as it is in their environments.
METADATA_PORT = 51679

# A precondition does not hold.
UNMET = 2


def main() -> int:
    """Run until told to end; return 2 if Docker does not answer."""
    logging.basicConfig(level=logging.WARNING, format="agent: %(message)s", force=True)
    logging.getLogger("windtunnel").setLevel(logging.INFO)
    try:
        api = places.connected()
        place = places.Place.of_this_container(api)
    except places.NoDocker as error:
        LOG.error("%s: see docs/docker.md", error)
        return UNMET
    tasks = working.folder()
    runtime = DockerRuntime(api, place, tasks)
    proxy.serve(api, place)
    metadata = Metadata(socket.create_server(("", METADATA_PORT)), place.service)
    working.Agent(runtime, working.emulator(), working.images(), tasks, metadata).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
