"""SQLite files in LocalStack's data folder, which outlive it."""

import logging
import sqlite3
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

LOG = logging.getLogger(__name__)


class Records:
    """Texts by id, in a file, or in memory alone; only one thread at a time may use it."""

    def __init__(self, path: Path | None) -> None:
        """Open the file; a damaged one is set aside."""
        if path:
            # Environments and commands of tasks are in there.
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._database = _opened(path) if path else sqlite3.connect(":memory:", check_same_thread=False)
        # So that nobody has to.
        weakref.finalize(self, self._database.close)
        with self._database:
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS records (id TEXT PRIMARY KEY, record TEXT NOT NULL)"
            )

    def __iter__(self) -> Iterator[str]:
        """Hand out the texts, the oldest first."""
        for (record,) in self._database.execute("SELECT record FROM records ORDER BY rowid"):
            yield record

    def save(self, records: Iterable[tuple[str, str]]) -> None:
        """Keep texts by their ids, all or none."""
        with self._database:
            self._database.executemany(
                "INSERT INTO records VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record",
                records,
            )

    def forget(self, identifiers: Iterable[str]) -> None:
        """Remove texts."""
        with self._database:
            self._database.executemany("DELETE FROM records WHERE id = ?", [(one,) for one in identifiers])

    def close(self) -> None:
        """Let go of the file; nothing depends on it."""
        self._database.close()


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("SELECT count(*) FROM sqlite_master").fetchall()
        return database
    except sqlite3.DatabaseError as error:
        database.close()
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        LOG.error("%s begins empty, because it is damaged (%s). The old one is now %s.", path, error, aside)
        return sqlite3.connect(path, check_same_thread=False)
