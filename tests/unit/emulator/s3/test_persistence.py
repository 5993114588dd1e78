"""What was saved of S3 is there again, however the process ended."""

import io
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from windtunnel_emulator.s3 import persistence
from windtunnel_emulator.s3.persistence import S3Database, open_database

# Saves until it is killed, and says which object is saved.
SAVES = """
import sys
from itertools import count
from pathlib import Path
from windtunnel_emulator.s3.persistence import open_database

database = open_database(Path(sys.argv[1]))
for number in count():
    database.save_object("bucket", "key", b"%d" % number, {"null": (number, [b"%d," % number] * 9000)})
    database.save_object("bucket", f"key-{number}", b"%d" % number, {"null": (1, [b"x"])})
    print(number, flush=True)
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[S3Database]:
    database = open_database(tmp_path)
    yield database
    database.close()


def content(database: S3Database, bucket: str, key: str, version: str = "null") -> bytes:
    file = io.BytesIO()
    database.read(bucket, key, version, file)
    return file.getvalue()


def test_another_process_finds_all_of_it(database: S3Database, tmp_path: Path) -> None:
    database.save_bucket("bucket", b"settings")
    database.save_object("bucket", "dag/run é/1.log", b"record", {"null": (7, [b"one\0", b"", b"two"])})
    database.save_object("bucket", "empty", b"of no bytes", {"null": (8, [])})
    database.close()

    again = open_database(tmp_path)

    assert list(again.buckets()) == [("bucket", b"settings")]
    assert sorted(again.objects()) == [
        ("bucket", "dag/run é/1.log", b"record"),
        ("bucket", "empty", b"of no bytes"),
    ]
    assert content(again, "bucket", "dag/run é/1.log") == b"one\0two"
    assert again.stored("bucket", "empty") == {"null": 8}
    again.close()


def test_what_was_saved_survives_a_kill_and_nothing_is_half_there(tmp_path: Path) -> None:
    source = Path(persistence.__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", SAVES, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    assert process.stdout is not None
    seen = [int(process.stdout.readline()) for _ in range(50)]
    process.send_signal(signal.SIGKILL)
    # It may have come further than what was read of it.
    seen += map(int, process.stdout.read().split(b"\n")[:-1])
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL

    database = open_database(tmp_path)

    records = {key: record for _, key, record in database.objects()}
    assert {f"key-{number}" for number in seen} <= records.keys()
    last = int(records["key"])
    assert last >= seen[-1]
    assert content(database, "bucket", "key") == b"%d," % last * 9000
    assert database.stored("bucket", "key") == {"null": last}
    database.close()


def test_a_save_that_fails_changes_nothing(database: S3Database) -> None:
    def breaks() -> Iterator[bytes]:
        yield b"new"
        raise ConnectionError

    database.save_object("bucket", "key", b"old record", {"null": (1, [b"old"])})
    with pytest.raises(ConnectionError):
        database.save_object("bucket", "key", b"new record", {"null": (2, breaks())})

    assert list(database.objects()) == [("bucket", "key", b"old record")]
    assert content(database, "bucket", "key") == b"old"


def test_a_new_content_replaces_a_longer_one(database: S3Database) -> None:
    database.save_object("bucket", "key", b"", {"null": (1, [b"long", b"er"])})
    database.save_object("bucket", "key", b"", {"null": (2, [b"new"])})
    assert content(database, "bucket", "key") == b"new"


def test_a_content_with_the_same_stamp_is_left_as_it_is(database: S3Database) -> None:
    database.save_object("bucket", "key", b"", {"null": (1, [b"content"])})
    database.save_object("bucket", "key", b"other tags", {"null": (1, [])})
    assert list(database.objects()) == [("bucket", "key", b"other tags")]
    assert content(database, "bucket", "key") == b"content"


def test_a_version_that_is_not_named_again_is_deleted(database: S3Database) -> None:
    database.save_object("bucket", "key", b"", {"v1": (1, [b"1"]), "v2": (2, [b"2"])})
    database.save_object("bucket", "key", b"", {"v2": (2, [])})
    assert database.stored("bucket", "key") == {"v2": 2}
    assert content(database, "bucket", "key", "v1") == b""
    assert content(database, "bucket", "key", "v2") == b"2"


def test_deletion_takes_what_it_is_for_and_no_more(database: S3Database) -> None:
    for bucket in ("bucket", "other"):
        database.save_bucket(bucket, b"")
        for key in ("key", "key2"):
            database.save_object(bucket, key, b"", {"null": (1, [b"content"])})

    database.delete_object("bucket", "key")
    assert [key for bucket, key, _ in database.objects() if bucket == "bucket"] == ["key2"]
    assert database.stored("bucket", "key") == {}
    assert content(database, "bucket", "key2") == b"content"

    database.delete_bucket("bucket")
    assert list(database.buckets()) == [("other", b"")]
    assert {bucket for bucket, _, _ in database.objects()} == {"other"}
    assert database.stored("bucket", "key2") == {}
    assert content(database, "other", "key") == b"content"


def test_deleted_contents_give_their_space_back(database: S3Database, tmp_path: Path) -> None:
    def size() -> int:
        return sum(file.stat().st_size for file in tmp_path.iterdir())

    database.save_object("bucket", "key", b"", {"null": (1, [bytes(65536)] * 320)})
    database.delete_object("bucket", "key")
    database.save_object("bucket", "key", b"", {"null": (2, [b"small"])})
    assert size() < 8 * 1024 * 1024
    database.close()
    assert size() < 1024 * 1024


def test_two_do_not_share_it(database: S3Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistence, "_LOCK_TIMEOUT_SECONDS", 0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        open_database(tmp_path)
    database.save_bucket("bucket", b"")


@pytest.mark.parametrize("part", ["head", "records"])
def test_a_damaged_one_is_set_aside_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    database = open_database(tmp_path)
    for number in range(500):
        database.save_object("bucket", f"key-{number}", bytes(1000), {})
    database.close()
    path = tmp_path / persistence.FILE
    sound = path.read_bytes()
    path.write_bytes(bytes(len(sound)) if part == "head" else sound[:65536] + bytes(len(sound) - 65536))

    with caplog.at_level(logging.ERROR):
        database = open_database(tmp_path)

    assert len(caplog.messages) == 1
    assert f"{path} is damaged" in caplog.messages[0]
    aside = tmp_path / "s3.damaged"
    assert f"{aside}: delete it" in caplog.messages[0]
    assert aside.stat().st_size == len(sound)
    assert list(database.objects()) == []
    database.save_bucket("bucket", b"")
    shutil.copytree(tmp_path, tmp_path / "copy")  # as a kill would leave it
    copy = open_database(tmp_path / "copy")
    assert list(copy.buckets()) == [("bucket", b"")]
    copy.close()
    database.close()


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        open_database(tmp_path / "file" / "s3")
