"""A DAG bundle of releases in S3: each is a zip file, and one object says which of them is current.

``PREFIX/VERSION.zip`` holds ``dags/``, ``custom/`` and whatever else DAGs import; ``PREFIX/current`` holds
the version's name. A run goes on with the version that it began with: its tasks ask for the bundle by that
(https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/dag-bundles.html).
"""

import logging
import os
import re
import tempfile
import time
import zipfile
import zlib
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion
from airflow.sdk.exceptions import AirflowException
from botocore.config import Config
from botocore.exceptions import ClientError

from custom.bundles import import_order

log = logging.getLogger(__name__)

# The object with the name of the current version.
CURRENT = "current"

# The folder of a release with its DAG files.
DAGS = "dags"

# A version is the name of a folder, too.
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

# What S3 says of an object that is not there.
NOT_THERE = ("NoSuchKey", "404")

# The dag-processor looks again soon; a task has its retries.
CALLS = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 2})

# The dag-processor reads a file again if that has changed since its last reading has ended. A reading that is
# under way while the release changes is of the old one, so files are dated so many seconds ahead.
AHEAD = 2.0

# The mode of a zip file's entry that is a link, as Unix has it.
LINK, KIND = 0o120000, 0o170000


class ReleaseRefused(AirflowException):
    """A release cannot be used; the message says which, why, and what to do."""


class S3ReleaseBundle(BaseDagBundle):
    """Releases in a bucket.

    :param bucket_name: the bucket.
    :param prefix: what the names of its objects begin with, without a slash at the end.
    :param aws_conn_id: an Airflow connection; the credentials of the environment if None.
    """

    supports_versioning = True

    def __init__(
        self, *, bucket_name: str, prefix: str = "releases", aws_conn_id: str | None = None, **kwargs: Any
    ) -> None:
        """Look at nothing yet."""
        super().__init__(**kwargs)
        self.bucket_name = bucket_name
        self.prefix = prefix
        self.aws_conn_id = aws_conn_id
        self._refused = ""

    @property
    def path(self) -> Path:
        """The folder with the DAG files: of the version, or of what is current on this machine."""
        return (self.versions_dir / self.version if self.version else self._link) / DAGS

    @property
    def _link(self) -> Path:
        """The link to the folder of the version that is current on this machine."""
        return Path(self.base_dir, CURRENT)

    def initialize(self) -> None:
        """Get the version, or the current one.

        :raises ReleaseRefused: if there is no such release, or it cannot be used.
        """
        if self.version:
            self._get(self.version)
        else:
            self.refresh()
        super().initialize()

    def get_current_version(self) -> BundleVersion | None:
        """Return the version; None if nothing is released yet."""
        if self.version:
            return BundleVersion(self.version)
        return BundleVersion(self._link.readlink().name) if self._link.is_symlink() else None

    def refresh(self) -> None:
        """Take up the release that is current in the bucket; one that was refused is not tried again.

        :raises ReleaseRefused: if that release cannot be used. What was current before stays.
        """
        if self.version:
            raise AirflowException("Refreshing a specific version is not supported")
        # Airflow may have removed what no task has used for long.
        there = self.get_current_version() if self.path.exists() else None
        version = self._asked_for()
        if version in ("", self._refused, there and there.version):
            return
        try:
            self._get(version)
        except ReleaseRefused:
            self._refused = version
            raise
        self._refused = ""
        with self.lock():
            _date(self.versions_dir / version)
            _point(self._link, self.versions_dir / version)
        log.info("%s is at %s", self.name, version)

    def _asked_for(self) -> str:
        """Return the version that is current in the bucket; empty if nothing is released yet."""
        try:
            return str(self._read(CURRENT).decode(errors="replace").strip())
        except ClientError as error:
            if error.response["Error"]["Code"] in NOT_THERE:
                return ""
            raise

    def _get(self, version: str) -> None:
        """Let the folder of a version be there.

        :raises ReleaseRefused: if there is no such release, or it cannot be used.
        """
        if not VERSION.fullmatch(version):
            raise ReleaseRefused(f"{version!r} is no name of a release: {self._remedy}")
        folder = Path(self.versions_dir, version)
        if folder.exists():
            return
        with self.lock():
            if not folder.exists():
                self._unpack(version, folder)

    def _unpack(self, version: str, folder: Path) -> None:
        key = f"{self.prefix}/{version}.zip"
        where = f"the release s3://{self.bucket_name}/{key}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside it, so that it is there with one step, and whole.
        with tempfile.TemporaryDirectory(dir=self.base_dir) as place:
            archive, made = Path(place, "release.zip"), Path(place, "release")
            try:
                archive.write_bytes(self._read(f"{version}.zip"))
                extract(archive, made)
            except ClientError as error:
                if error.response["Error"]["Code"] in NOT_THERE:
                    raise ReleaseRefused(f"{where} is not there: {self._remedy}") from error
                raise
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise ReleaseRefused(f"{where} is damaged: {error}. Release it again.") from error
            except ValueError as error:
                raise ReleaseRefused(f"{where} {error}. Pack it anew.") from error
            (made / import_order.MARK).write_text(version)
            made.rename(folder)

    @property
    def _remedy(self) -> str:
        current = f"s3://{self.bucket_name}/{self.prefix}/{CURRENT}"
        return f"write the name of one that is there into {current}"

    def _read(self, name: str) -> bytes:
        answer = self._s3.get_object(Bucket=self.bucket_name, Key=f"{self.prefix}/{name}")
        return bytes(answer["Body"].read())

    @cached_property
    def _s3(self) -> Any:
        # Services that ask for no release need not import it.
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        return S3Hook(aws_conn_id=self.aws_conn_id, config=CALLS).get_conn()


def extract(archive: Path, folder: Path) -> None:
    """Unpack a release.

    :raises ValueError: if it has no DAG files, or would write elsewhere.
    :raises zipfile.BadZipFile: if it is damaged.
    """
    with zipfile.ZipFile(archive) as packed:
        entries = packed.infolist()
        for entry in entries:
            parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
            if parts[:1] == ("/",) or ".." in parts or entry.external_attr >> 16 & KIND == LINK:
                raise ValueError(f"holds {entry.filename!r}, which leaves its folder")
        if not any(PurePosixPath(entry.filename).parts[:1] == (DAGS,) for entry in entries):
            raise ValueError(f"has no folder {DAGS}/")
        packed.extractall(folder)


def _date(folder: Path) -> None:
    """Let the dag-processor read all files of a release again, also of one that was current before."""
    soon = time.time() + AHEAD
    for path in Path(folder, DAGS).rglob("*"):
        os.utime(path, (soon, soon))


def _point(link: Path, target: Path) -> None:
    """Let a link lead elsewhere in one step."""
    new = link.with_name(f"{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)


import_order.install()
