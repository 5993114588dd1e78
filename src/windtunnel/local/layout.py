"""Where the files of a stack of processes are.

Each container path of the compose file has its place below one folder. What a stack writes is in
``.windtunnel/local/PROJECT``: ``volumes/`` outlives ``down``, ``run/`` does not.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from windtunnel.local import processes
from windtunnel.stack.errors import StackError

REMEDY = "Run it as the user who started the stack."


@dataclass(frozen=True)
class Layout:
    """The files of one stack, which writes everything into ``folder``."""

    folder: Path

    @property
    def run(self) -> Path:
        """The folder that is there while the stack runs."""
        return self.folder / "run"

    @property
    def socket(self) -> Path:
        """The socket of supervisord."""
        return self.run / "supervisor.sock"

    @property
    def fork_server_socket(self) -> Path:
        """The socket of the fork server."""
        return self.run / "fork-server.sock"

    @property
    def database(self) -> Path:
        """The folder of Postgres's data."""
        return self.place("/var/lib/postgresql/data").resolve()

    def place(self, container_path: str) -> Path:
        """Return the place of a container's path."""
        return self.run / "root" / container_path.lstrip("/")

    def log(self, label: str) -> Path:
        """Return the log of a process."""
        return self.run / "logs" / f"{label}.log"

    def make(self, labels: Iterable[str], ports: Mapping[str, int]) -> None:
        """Make the folders of these processes, and note the ports on this machine, by service."""
        for label in labels:
            processes.temporary_folder(self.run, label).mkdir(parents=True, exist_ok=True)
        self.log("").parent.mkdir(exist_ok=True)
        self._ports.write_text(json.dumps(ports))

    def mount(self, volume: Mapping[str, Any] | str, root: Path) -> None:
        """Let a container's path lead to what is mounted there.

        :param volume: as the compose file has it.
        :param root: the checkout.
        :raises StackError: if it is in the short form.
        """
        if isinstance(volume, str):
            form = "the local engine reads the long form, with type, source and target"
            raise StackError(f"volume {volume!r}: {form}")
        if volume["type"] == "bind":
            source = (root / Path(volume["source"]).expanduser()).resolve()
        else:
            source = self.folder / "volumes" / volume["source"]
            source.mkdir(parents=True, exist_ok=True, mode=0o700)
        link(self.place(volume["target"]), source)

    @property
    def _ports(self) -> Path:
        return self.run / "ports.json"

    def ports(self) -> dict[str, int]:
        """Return the port of each service; empty if the stack does not run."""
        return dict(json.loads(self._ports.read_text())) if self._ports.exists() else {}


def link(path: Path, target: Path) -> None:
    """Make a link, or let it lead elsewhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A link that is right stays: a running service may be reading through it.
    if path.is_symlink() and path.readlink() != target:
        path.unlink()
    if not path.is_symlink():
        path.symlink_to(target)


def remove(folder: Path) -> None:
    """Remove a folder; StackError if that cannot be done, as with another user's files."""
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise StackError(f"{folder} cannot be removed: {error}", next_step=REMEDY) from error
