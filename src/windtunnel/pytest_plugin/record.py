"""What is known on disk of the projects of a repository, for other workers and for later sessions."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from windtunnel import locks


@dataclass(frozen=True)
class Record:
    """What is known of one project."""

    # The engine that runs its stack; None before the first start.
    engine: str | None = None
    # The stack has been ready, so its data are kept from now on.
    was_ready: bool = False
    # The fingerprint of what the running stack was started from; None while it starts.
    fingerprint: str | None = None
    # The last session that has made it ready or has failed to; its other workers take that outcome.
    session: str | None = None
    # Why that session cannot have the stack; None if it can.
    failure: str | None = None
    # The sessions that use it. If no process holds the project's lock, they were killed.
    users: list[str] = field(default_factory=list)
    # Something that a test has set is still there.
    unclean: bool = False


class Records:
    """The records of a repository's projects, and the locks of those that are in use."""

    def __init__(self, state_folder: Path) -> None:
        """Write nothing yet; the folder is that of all that Windtunnel writes in the repository."""
        self._state_folder = state_folder
        self._folder = state_folder / "projects"
        self._locks = state_folder / "locks"

    def projects(self) -> list[str]:
        """Return the projects that were started and not removed."""
        return sorted(path.name for path in self._folder.glob("*"))

    def read(self, project: str) -> Record:
        """Return what is known of a project."""
        file = self._folder / project
        text = file.read_text() if file.exists() else ""
        return Record(**json.loads(text)) if text else Record()

    def write(self, project: str, record: Record) -> None:
        """Replace what is known of a project."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / project).write_text(json.dumps(asdict(record)))

    def remove(self, project: str) -> None:
        """Forget a project."""
        (self._folder / project).unlink(missing_ok=True)

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep every other process from starting or removing a stack during the block."""
        self._state_folder.mkdir(exist_ok=True)
        with locks.exclusive(self._state_folder / "pytest.lock"):
            yield

    def lock(self, project: str) -> IO[str]:
        """Open the lock that each process holds while it uses the project."""
        self._locks.mkdir(exist_ok=True)
        return (self._locks / project).open("w")

    def remove_lock(self, project: str) -> None:
        """Remove the lock of a project that nobody uses."""
        (self._locks / project).unlink(missing_ok=True)
