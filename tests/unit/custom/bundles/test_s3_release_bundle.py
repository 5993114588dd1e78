import io
import shutil
import stat
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.bundles.base import BundleVersion
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk.exceptions import AirflowException
from botocore.exceptions import ClientError

from custom.bundles.s3_release_bundle import ReleaseRefused, S3ReleaseBundle

from .a_bucket import Bucket

ONE = {"dags/a.py": "one", "custom/mine.py": "ONE = 1"}
OTHER = {"dags/a.py": "other", "dags/b.py": "b"}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bucket:
    made = Bucket()
    monkeypatch.setattr(S3Hook, "get_conn", lambda _: made)
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(tmp_path / "bundles"))
    return made


def bundle(version: str | None = None) -> S3ReleaseBundle:
    return S3ReleaseBundle(name="releases", bucket_name="bucket", version=version)


def content(path: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in path.iterdir()}


def test_the_current_release_is_there(bucket: Bucket) -> None:
    bucket.release("one", ONE)
    found = bundle()

    found.initialize()

    assert content(found.path) == {"a.py": "one"}
    assert found.get_current_version() == BundleVersion("one")
    assert (found.path.parent / "custom" / "mine.py").exists()


def test_another_release_is_taken_up_under_the_same_path(bucket: Bucket) -> None:
    bucket.release("one", ONE)
    found = bundle()
    found.initialize()
    path = found.path
    bucket.release("other", OTHER)

    found.refresh()

    assert found.path == path
    assert content(path) == {"a.py": "other", "b.py": "b"}
    assert found.get_current_version() == BundleVersion("other")


def test_a_version_stays_what_it_was(bucket: Bucket) -> None:
    bucket.release("one", ONE)
    bucket.release("other", OTHER)

    one = bundle("one")
    one.initialize()

    assert content(one.path) == {"a.py": "one"}
    assert one.get_current_version() == BundleVersion("one")
    with pytest.raises(AirflowException, match="not supported"):
        one.refresh()


def test_a_version_is_fetched_once(bucket: Bucket) -> None:
    bucket.release("one", ONE)
    for _ in range(3):
        bundle("one").initialize()

    assert bucket.asked == ["releases/one.zip"]


def test_of_many_at_once_one_fetches(bucket: Bucket) -> None:
    bucket.release("one", ONE)
    threads = [threading.Thread(target=bundle("one").initialize) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert bucket.asked == ["releases/one.zip"]
    assert content(bundle("one").path) == {"a.py": "one"}


def test_going_back_dates_files_anew_so_that_they_are_parsed(bucket: Bucket) -> None:
    bucket.release("one", ONE)
    found = bundle()
    found.initialize()
    first = (found.path / "a.py").stat().st_mtime_ns
    bucket.release("other", OTHER)
    found.refresh()

    bucket.objects["releases/current"] = b"one\n"
    found.refresh()

    assert content(found.path) == {"a.py": "one"}
    assert (found.path / "a.py").stat().st_mtime_ns > first


def test_what_airflow_has_removed_is_there_again(bucket: Bucket) -> None:
    bucket.release("one", ONE)
    found = bundle()
    found.initialize()
    shutil.rmtree(found.versions_dir / "one")

    found.refresh()

    assert content(found.path) == {"a.py": "one"}


def test_nothing_released_yet_is_no_error(bucket: Bucket) -> None:
    found = bundle()

    found.initialize()

    assert found.get_current_version() is None
    assert not found.path.exists()
    bucket.release("one", ONE)
    found.refresh()
    assert content(found.path) == {"a.py": "one"}


def test_without_s3_what_is_there_stays(bucket: Bucket) -> None:
    bucket.release("one", ONE)
    found = bundle()
    found.initialize()
    bucket.error = "SlowDown"

    with pytest.raises(ClientError):
        found.refresh()

    assert content(found.path) == {"a.py": "one"}
    # It is tried again.
    bucket.error = ""
    bucket.release("other", OTHER)
    found.refresh()
    assert found.get_current_version() == BundleVersion("other")


def raw(name: str, mode: int = 0) -> bytes:
    """A release with a DAG file and another entry."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("dags/a.py", "one")
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        archive.writestr(entry, "/etc")
    return buffer.getvalue()


def damaged() -> bytes:
    content = bytearray(raw("custom/mine.py"))
    content[content.index(b"one")] ^= 1
    return bytes(content)


def without_dags() -> bytes:
    bucket = Bucket()
    bucket.release("bad", {"custom/mine.py": "", "dagsnot": ""})
    return bucket.objects["releases/bad.zip"]


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        pytest.param(None, "bad.zip is not there: write the name", marks=pytest.mark.bad_input(85)),
        pytest.param(b"no zip", "is damaged: File is not a zip file", marks=pytest.mark.bad_input(86)),
        pytest.param(raw("x")[:-30], "is damaged", marks=pytest.mark.bad_input(86)),
        pytest.param(damaged(), "is damaged: Bad CRC-32", marks=pytest.mark.bad_input(86)),
        pytest.param(without_dags(), "has no folder dags/", marks=pytest.mark.bad_input(86)),
        pytest.param(raw("../x"), "holds '../x', which leaves", marks=pytest.mark.bad_input(87)),
        pytest.param(raw("dags/../../x"), "which leaves", marks=pytest.mark.bad_input(87)),
        pytest.param(raw("/tmp/x"), "holds '/tmp/x', which leaves", marks=pytest.mark.bad_input(87)),  # noqa: S108
        pytest.param(raw("..\\x"), "which leaves", marks=pytest.mark.bad_input(87)),
        pytest.param(raw("dags/link", stat.S_IFLNK), "which leaves", marks=pytest.mark.bad_input(87)),
    ],
)
def test_a_release_that_cannot_be_used_is_refused_once_and_changes_nothing(
    bucket: Bucket, tmp_path: Path, packed: bytes | None, said: str
) -> None:
    bucket.release("one", ONE)
    found = bundle()
    found.initialize()
    bucket.objects["releases/current"] = b"bad"
    if packed is not None:
        bucket.objects["releases/bad.zip"] = packed

    with pytest.raises(ReleaseRefused) as refusal:
        found.refresh()
    found.refresh()

    assert said in str(refusal.value)
    assert "s3://bucket/releases/" in str(refusal.value)
    assert content(found.path) == {"a.py": "one"}
    assert sorted(path.name for path in (tmp_path / "bundles" / "releases").iterdir()) == [
        "current",
        "versions",
    ]
    assert [path.name for path in found.versions_dir.iterdir()] == ["one"]
    with pytest.raises(ReleaseRefused):
        bundle("bad").initialize()


@pytest.mark.bad_input(85)
@pytest.mark.parametrize("version", ["../one", "a/b", ".", "..", "a b", "x" * 101])
def test_what_is_no_name_of_a_release_is_refused(bucket: Bucket, version: str) -> None:
    bucket.objects["releases/current"] = version.encode()
    found: Any = bundle()

    with pytest.raises(ReleaseRefused, match="is no name of a release"):
        found.initialize()

    assert bucket.asked == ["releases/current"]
