"""``python a_runner.py FOLDER``: a runner whose agent starts what it finds in the folder."""

import json
import os
import socket
import sys
import time
from pathlib import Path

from windtunnel.agent.processes import Processes
from windtunnel.agent.runner import Runner
from windtunnel.agent.runtime import CannotStart


def agent(orders: socket.socket, identity: str) -> None:
    """Start each container of which there is an order."""
    folder = Path(sys.argv[1])
    processes = Processes(orders, identity, os.getppid())
    (folder / "agent.new").write_text(f"{os.getpid()} {identity}")
    (folder / "agent.new").rename(folder / "agent")
    while True:
        for path in sorted(folder.glob("*.order")):
            order = json.loads(path.read_text())
            path.unlink()
            try:
                processes.start(order["container"], Path(order["folder"]), order["cpu"])
            except CannotStart as error:
                (Path(order["folder"]) / "refused").write_text(str(error))
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(Runner(agent).run())
