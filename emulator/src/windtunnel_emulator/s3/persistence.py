"""What S3 holds, in a database on disk: what was saved survives a kill of the process right after it."""

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import IO

LOG = logging.getLogger(__name__)

FILE = "s3.sqlite"

# For a process that is about to end, as at a restart; two never share the file.
_LOCK_TIMEOUT_SECONDS = 10

# Exclusive: no second process. It has to come first, before the file is touched.
# Write-ahead log without a sync at each change: a crash of the machine may lose the last moments, never the
# database. After deletions both files shrink, the log to 4 MiB.
_SETUP = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA auto_vacuum = FULL;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA journal_size_limit = 4194304;
CREATE TABLE IF NOT EXISTS buckets (name TEXT PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT, key TEXT, record BLOB NOT NULL,
    PRIMARY KEY (bucket, key)
);
CREATE TABLE IF NOT EXISTS contents (
    bucket TEXT, key TEXT, version TEXT, part INTEGER, stamp INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (bucket, key, version, part)
);
"""


class S3Database:
    """Buckets and objects, each as a record that is the caller's to make, and the contents of the objects.

    One change is one transaction, so it is there as a whole or not at all. Use it from any thread.
    """

    def __init__(self, path: Path) -> None:
        """Open the database, or begin one; `open_database` also copes with a damaged one.

        :raises sqlite3.Error: it cannot be used
        """
        self.lock = threading.RLock()
        """Hold it from reading what is to be saved until it is: then the last to save saves the latest."""
        self._connection = sqlite3.connect(path, timeout=_LOCK_TIMEOUT_SECONDS, check_same_thread=False)
        try:
            self._connection.executescript(_SETUP)
            # Through all that a start needs: damage shows only where one reads.
            for _ in chain(self.buckets(), self.objects()):
                pass
        except sqlite3.Error:
            self._connection.close()  # at a later end it would delete the log of the next one of that name
            raise

    def close(self) -> None:
        """Let go of the file. Nothing depends on it: what was saved is on disk."""
        with self.lock:
            self._connection.close()

    def save_bucket(self, name: str, record: bytes) -> None:
        """Save a bucket's settings."""
        with self.lock, self._connection:
            self._connection.execute("REPLACE INTO buckets VALUES (?, ?)", (name, record))

    def delete_bucket(self, name: str) -> None:
        """Delete a bucket and all that is in it."""
        with self.lock, self._connection:
            self._connection.execute("DELETE FROM buckets WHERE name = ?", (name,))
            self._connection.execute("DELETE FROM objects WHERE bucket = ?", (name,))
            self._connection.execute("DELETE FROM contents WHERE bucket = ?", (name,))

    def save_object(
        self,
        bucket: str,
        key: str,
        record: bytes,
        contents: Mapping[str, tuple[int, Iterable[bytes]]],
    ) -> None:
        """Save all versions of an object.

        :param contents: by version, a stamp that differs after each change, and the bytes, which are read
            only if the stamp is not the one stored. Versions that are not named are deleted.
        """
        with self.lock, self._connection:
            stored = self.stored(bucket, key)
            for version in stored.keys() - contents.keys():
                self._delete_content(bucket, key, version)
            for version, (stamp, data) in contents.items():
                if stored.get(version) != stamp:
                    self._delete_content(bucket, key, version)
                    self._connection.executemany(
                        "INSERT INTO contents VALUES (?, ?, ?, ?, ?, ?)",
                        # Part 0 has no bytes, so that an empty content has a part, too.
                        (
                            (bucket, key, version, part, stamp, piece)
                            for part, piece in enumerate(chain((b"",), data))
                        ),
                    )
            self._connection.execute("REPLACE INTO objects VALUES (?, ?, ?)", (bucket, key, record))

    def delete_object(self, bucket: str, key: str) -> None:
        """Delete an object, with all versions."""
        with self.lock, self._connection:
            self._connection.execute("DELETE FROM objects WHERE bucket = ? AND key = ?", (bucket, key))
            self._connection.execute("DELETE FROM contents WHERE bucket = ? AND key = ?", (bucket, key))

    def buckets(self) -> Iterator[tuple[str, bytes]]:
        """Return each bucket's name and record."""
        with self.lock:
            yield from self._connection.execute("SELECT name, record FROM buckets")

    def objects(self) -> Iterator[tuple[str, str, bytes]]:
        """Return each object's bucket, key and record."""
        with self.lock:
            yield from self._connection.execute("SELECT bucket, key, record FROM objects")

    def stored(self, bucket: str, key: str) -> dict[str, int]:
        """Return the stamps of an object's contents, by version."""
        with self.lock:
            query = "SELECT version, stamp FROM contents WHERE bucket = ? AND key = ? AND part = 0"
            return dict(self._connection.execute(query, (bucket, key)))

    def read(self, bucket: str, key: str, version: str, into: IO[bytes]) -> None:
        """Write a content into a file; nothing, if there is none."""
        with self.lock:
            query = "SELECT data FROM contents WHERE bucket = ? AND key = ? AND version = ? ORDER BY part"
            for (data,) in self._connection.execute(query, (bucket, key, version)):
                into.write(data)

    def _delete_content(self, bucket: str, key: str, version: str) -> None:
        query = "DELETE FROM contents WHERE bucket = ? AND key = ? AND version = ?"
        self._connection.execute(query, (bucket, key, version))


def open_database(folder: Path) -> S3Database:
    """Open the database of a folder, or begin one. A damaged one is set aside.

    :raises OSError: the folder cannot be written to
    :raises sqlite3.OperationalError: the same, or another process has the database
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    try:
        return S3Database(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        LOG.error(
            "S3 begins empty, because %s is damaged (%s). It is now %s: delete it, "
            "or stop LocalStack and put a good copy in the place of the new one.",
            path, error, aside,
        )  # fmt: skip
        return S3Database(path)
