"""The bucket of the releases, as ``custom/bundles/s3_release_bundle.py`` reads it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from windtunnel.stack import aws
from windtunnel.stack.base import Stack
from windtunnel.stack.command import COMMAND
from windtunnel.stack.errors import Finding, StackError, Unmet, did_you_mean

# Airflow's setting of bundles, and the class of ours. Each service of Airflow has them.
SETTING = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"
CLASS = "custom.bundles.s3_release_bundle.S3ReleaseBundle"
SERVICE = "scheduler"

# The object with the name of the current version, and how the names of releases end.
CURRENT, ENDING = "current", ".zip"


@dataclass(frozen=True)
class Release:
    """A release in the bucket, and when it was put there; of the current one, when it became that."""

    version: str
    since: datetime


def configured(stack: Stack) -> dict[str, Any] | None:
    """Return what the stack's settings say of the bundle of releases; None if it has none."""
    given = stack.configuration["services"].get(SERVICE, {}).get("environment") or {}
    listed = json.loads(given.get(SETTING) or stack.settings.file.get(SETTING) or "[]")
    return next((bundle for bundle in listed if bundle.get("classpath") == CLASS), None)


@dataclass(frozen=True)
class Bucket:
    """The releases of a running stack.

    :param s3: boto3's client.
    :param bundle: the name of Airflow's bundle.
    """

    s3: Any
    bundle: str
    name: str
    prefix: str

    @classmethod
    def of(cls, stack: Stack) -> "Bucket":
        """Return the bucket that the stack's DAGs come from.

        :raises Unmet: if they come from a folder.
        :raises windtunnel.stack.errors.StackError: if LocalStack does not run.
        """
        bundle = configured(stack)
        if bundle is None:
            raise Unmet(Finding("this stack has its DAGs from a folder", f"{COMMAND} up --with bundle"))
        given = bundle["kwargs"]
        s3 = aws.client(stack, "s3", **aws.PATIENCE)
        return cls(s3, bundle["name"], given["bucket_name"], given.get("prefix", "releases"))

    def current(self) -> Release | None:
        """Return the current release; None if there is none yet."""
        try:
            found = self.s3.get_object(Bucket=self.name, Key=f"{self.prefix}/{CURRENT}")
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        return Release(found["Body"].read().decode(errors="replace").strip(), found["LastModified"])

    def releases(self) -> list[Release]:
        """Return all releases, the latest first."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=f"{self.prefix}/")
        found = [Release(*one) for one in self._named(pages)]
        return sorted(found, key=lambda release: release.since, reverse=True)

    def _named(self, pages: Any) -> Iterator[tuple[str, datetime]]:
        for entry in pages.search("Contents[]"):
            if entry and entry["Key"].endswith(ENDING):
                version = entry["Key"].removeprefix(f"{self.prefix}/").removesuffix(ENDING)
                yield version, entry["LastModified"]

    def add(self, version: str, content: bytes) -> None:
        """Put a release there; nothing uses it until it is current."""
        self.s3.put_object(Bucket=self.name, Key=f"{self.prefix}/{version}{ENDING}", Body=content)

    def make_current(self, version: str) -> None:
        """Let a release be the current one.

        :raises Unmet: if it is not there; nothing has changed then.
        """
        there = [release.version for release in self.releases()]
        if version not in there:
            raise Unmet(Finding(f"there is no release {version}", did_you_mean(version, there)))
        self.s3.put_object(Bucket=self.name, Key=f"{self.prefix}/{CURRENT}", Body=version.encode())


@contextmanager
def s3_explained() -> Iterator[None]:
    """Turn what boto3 raises into a StackError."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise StackError("the bucket of the releases", str(error), f"{COMMAND} doctor") from error
