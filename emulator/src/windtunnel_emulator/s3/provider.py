"""LocalStack's side of S3 that is kept over restarts: the provider `s3:windtunnel`, chosen by PERSISTENCE=1.

LocalStack's own provider does the work and holds everything in memory. After each operation that changed
something, and before it is answered, the bucket or object is saved; all are restored before the first one.
"""

import copy
import logging
import pickle
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from localstack import config
from localstack.aws.api import RequestContext
from localstack.aws.api.core import ServiceRequestHandler
from localstack.aws.api.s3 import NoSuchBucket
from localstack.aws.skeleton import DispatchTable, create_dispatch_table
from localstack.runtime.hooks import on_infra_start
from localstack.services.plugins import Service, aws_provider
from localstack.services.s3.models import S3DeleteMarker, S3Object, VersionedKeyStore
from localstack.services.s3.provider import S3Provider
from localstack.services.s3.storage.ephemeral import (
    S3_MAX_FILE_SIZE_BYTES,
    EphemeralS3ObjectStore,
    EphemeralS3StoredObject,
    LockedSpooledTemporaryFile,
)
from localstack.services.s3.utils import get_unique_key_id

from windtunnel_emulator.s3.persistence import FILE, S3Database, open_database

LOG = logging.getLogger(__name__)

# Operations with nothing to save. An upload in parts is saved when it is complete.
_CHANGE_NOTHING = (
    "Get", "Head", "List", "Select", "CreateMultipartUpload", "UploadPart", "AbortMultipartUpload",
)  # fmt: skip

type _Version = S3Object | S3DeleteMarker


@on_infra_start(should_load=lambda: config.PERSISTENCE)  # type: ignore[untyped-decorator]
def keep_s3() -> None:
    """Choose the provider below, unless PROVIDER_OVERRIDE_S3 names another."""
    config.SERVICE_PROVIDER_CONFIG.set_provider_if_not_exists("s3", "windtunnel")


@aws_provider(api="s3", name="windtunnel")  # type: ignore[untyped-decorator]
def s3() -> Service:
    """Make the provider; LocalStack's own, which forgets, if the database cannot be used."""
    folder = Path(config.dirs.data) / "s3"
    try:
        database = open_database(folder)
    except (OSError, sqlite3.Error) as error:
        LOG.error(
            "S3 is empty and will keep nothing over a restart, because %s cannot be used: %s. "
            "LocalStack's user must be able to write it, and no other LocalStack may use it. Then restart.",
            folder / FILE, error,
        )  # fmt: skip
        return Service.for_provider(S3Provider())
    provider = KeepingS3Provider(database)
    provider.restore()
    return Service.for_provider(provider, dispatch_table_factory=lambda _: provider.dispatch_table())


class _ObjectStore(EphemeralS3ObjectStore):
    """LocalStack's contents in memory, which come from the database when they are first asked for."""

    def __init__(self, root_directory: Path, database: S3Database) -> None:
        super().__init__(str(root_directory))
        self._database = database

    def open(
        self, bucket: str, s3_object: S3Object, mode: Literal["r", "w"] = "r"
    ) -> EphemeralS3StoredObject:
        # Also for writing: a condition of the request may still forbid it.
        name = self._key_from_s3_object(s3_object)
        with self._database.lock:
            if not self._get_object_file(bucket, name):
                file = LockedSpooledTemporaryFile(  # type: ignore[no-untyped-call]
                    dir=str(Path(self.root_directory) / bucket), max_size=S3_MAX_FILE_SIZE_BYTES
                )
                self._database.read(bucket, s3_object.key, _version_id(s3_object), file)
                file.internal_last_modified = s3_object.internal_last_modified
                self._filesystem[bucket]["keys"][name] = file
        return super().open(bucket, s3_object, mode)


class KeepingS3Provider(S3Provider):
    """LocalStack's S3, which restores itself from a database and saves each change to it."""

    def __init__(self, database: S3Database) -> None:
        """Create the provider, empty as yet."""
        self._database = database
        super().__init__(_ObjectStore(Path(config.dirs.tmp) / "s3", database))

    def dispatch_table(self) -> DispatchTable:
        """Return LocalStack's handlers by operation, with the saving added."""
        return {
            operation: handler if operation.startswith(_CHANGE_NOTHING) else self._saving(operation, handler)
            for operation, handler in create_dispatch_table(self).items()
        }

    def _saving(self, operation: str, handler: ServiceRequestHandler) -> ServiceRequestHandler:
        def handle(context: RequestContext, request: Any) -> Any:
            response = handler(context, request)
            bucket = request["Bucket"]
            owners = self.get_store(context.account_id, context.region).global_bucket_map
            # LocalStack's own hold the code of functions, which it forgets.
            if owners.get(bucket) != config.INTERNAL_RESOURCE_ACCOUNT:
                keys = list(_keys(operation, context, request))
                for key in keys:
                    self._save_object(context, bucket, key)
                if not keys:
                    self._save_bucket(context, bucket)
            return response

        return handle

    def _save_bucket(self, context: RequestContext, name: str) -> None:
        with self._database.lock:
            try:
                store, bucket = self._get_cross_account_bucket(context, name)
            except NoSuchBucket:
                self._database.delete_bucket(name)
                return
            settings = copy.copy(bucket)
            settings.objects, settings.multiparts = type(bucket.objects)(), {}
            tags = store.tags.get_tags(bucket.bucket_arn)
            self._database.save_bucket(name, pickle.dumps((settings, tags)))

    def _save_object(self, context: RequestContext, bucket: str, key: str) -> None:
        stored = self._database.stored(bucket, key)
        with ExitStack() as stack:
            # Before the lock of the database is taken, because opening waits for who is writing the object.
            opened = {
                _version_id(version): stack.enter_context(self._storage_backend.open(bucket, version))
                for version, _ in self._versions(context, bucket, key)
                if isinstance(version, S3Object) and stored.get(_version_id(version)) != _stamp(version)
            }
            stack.enter_context(self._database.lock)
            stored = self._database.stored(bucket, key)
            versions: list[tuple[_Version, dict[str, str]]] = []
            contents: dict[str, tuple[int, Iterable[bytes]]] = {}
            for version, tags in self._versions(context, bucket, key):
                if isinstance(version, S3Object):
                    name, stamp = _version_id(version), _stamp(version)
                    if name not in opened and stored.get(name) != stamp:
                        continue  # it came in between, and is left to the operation that brought it
                    contents[name] = (stamp, opened.get(name, ()))
                versions.append((version, tags))
            if versions:
                self._database.save_object(bucket, key, pickle.dumps(versions), contents)
            else:
                self._database.delete_object(bucket, key)

    def _versions(
        self, context: RequestContext, bucket: str, key: str
    ) -> list[tuple[_Version, dict[str, str]]]:
        """Return an object's versions, oldest first, and their tags; only one if it is not versioned."""
        try:
            store, s3_bucket = self._get_cross_account_bucket(context, bucket)
        except NoSuchBucket:
            return []
        found = s3_bucket.objects._store.get(key)
        versions = list(found.values()) if isinstance(found, dict) else [found] if found else []
        return [
            (version, store.tags.get_tags(get_unique_key_id(bucket, key, _version_id(version))))
            for version in versions
        ]

    def restore(self) -> None:
        """Take everything from the database, but the contents."""
        lost = []
        buckets = {}
        for name, record in self._database.buckets():
            try:
                buckets[name] = self._restore_bucket(record)
            except Exception as error:  # whatever a class of another release makes of it
                lost.append(f"the bucket {name} ({error!r})")
        for bucket, key, record in self._database.objects():
            try:
                self._restore_object(*buckets[bucket], key, record)
            except Exception as error:
                lost.append(f"the object {bucket}/{key} ({error!r})")
        if lost:
            LOG.error(
                "S3 is without %d of its buckets and objects, because they cannot be read from %s. "
                "Put them there again. The first is %s.",
                len(lost), Path(config.dirs.data) / "s3" / FILE, lost[0],
            )  # fmt: skip

    def _restore_bucket(self, record: bytes) -> tuple[Any, Any]:
        bucket, tags = pickle.loads(record)  # noqa: S301 - we wrote it
        store = self.get_store(bucket.bucket_account_id, bucket.bucket_region)
        store.buckets[bucket.name] = bucket
        store.global_bucket_map[bucket.name] = bucket.bucket_account_id
        store.tags.update_tags(bucket.bucket_arn, tags)
        self._storage_backend.create_bucket(bucket.name)
        return store, bucket

    def _restore_object(self, store: Any, bucket: Any, key: str, record: bytes) -> None:
        versions = pickle.loads(record)  # noqa: S301 - we wrote it
        for version, tags in versions:
            if isinstance(bucket.objects, VersionedKeyStore):
                version.version_id = _version_id(version)  # it may be older than the versioning
                bucket.objects._store[key][version.version_id] = version
            else:
                bucket.objects._store[key] = version
            store.tags.update_tags(get_unique_key_id(bucket.name, key, _version_id(version)), tags)


def _keys(operation: str, context: RequestContext, request: Any) -> Iterator[str]:
    """Return the keys that an operation was for; none, if it was for the bucket."""
    if operation == "PostObject":  # by a form of a web page
        file = context.request.files.get("file")
        key = context.request.form["key"]
        yield key.replace("${filename}", file.filename or "") if file else key
    elif "Delete" in request:
        yield from (entry["Key"] for entry in request["Delete"]["Objects"])
    elif "Key" in request:
        yield request["Key"]


def _version_id(version: _Version) -> str:
    return version.version_id or "null"


def _stamp(version: S3Object) -> int:
    """Return what LocalStack changes whenever it writes the content."""
    return version.internal_last_modified
