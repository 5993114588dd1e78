"""``python -m windtunnel.docker_agent``: the agent with Docker, and the proxy before Docker's socket.

Settings, as environment variables: those of ``windtunnel.agent``. Docker listens at ``/var/run/docker.sock``.
"""

import logging
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

from docker import APIClient

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
    agent = working.Agent(runtime, working.emulator(), working.images(), tasks, metadata)
    # By SIGTERM the service is stopped, and the stack with it, as a rule; what kills it ends no container.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        agent.run()
    finally:
        remove_all(api, place)
    return 0


def remove_all(api: APIClient, place: places.Place) -> None:
    """Leave no container behind; the next agent, if there is one, reports what has become of their tasks."""
    with ThreadPoolExecutor(places.MOST_CALLS // 4) as pool:
        list(pool.map(lambda found: places.remove(api, found["Id"]), place.made(api)))


if __name__ == "__main__":
    sys.exit(main())
