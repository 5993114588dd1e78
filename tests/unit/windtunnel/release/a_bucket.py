"""The bucket of the releases, in memory."""

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from windtunnel.release.bucket import CLASS, SETTING, Bucket

from ..stand_ins.aws import client

# What overlays/bundle.yml says, for any service of Airflow.
KWARGS = {"bucket_name": "airflow-releases", "prefix": "releases"}
VARIABLES = {SETTING: json.dumps([{"name": "releases", "classpath": CLASS, "kwargs": KWARGS}])}


class Objects:
    """What the bucket holds: content and time, by key. Each write is a minute later."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[bytes, datetime]] = {}
        self.s3: Any = client("s3", PutObject=self._put, GetObject=self._get, ListObjectsV2=self._list)
        self.bucket = Bucket(self.s3, "releases", "airflow-releases", "releases")

    def _put(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        time = datetime(2026, 1, 2, 3, len(self.held), tzinfo=UTC)
        body = params["Body"]
        # boto3 makes a file of it, to reckon its checksum.
        self.held[params["Key"]] = (body if isinstance(body, bytes) else body.read(), time)
        return {}

    def _get(self, params: Mapping[str, Any]) -> Mapping[str, Any] | Exception:
        if params["Key"] not in self.held:
            error: Exception = ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
            return error
        content, time = self.held[params["Key"]]
        return {"Body": io.BytesIO(content), "LastModified": time}

    def _list(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        found = [
            {"Key": key, "LastModified": time}
            for key, (_, time) in self.held.items()
            if key.startswith(params["Prefix"])
        ]
        return {"Contents": found} if found else {}
