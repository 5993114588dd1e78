"""A bucket in memory, in place of S3."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError


class Bucket:
    """What S3 holds, and the answers of its client to a hook."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        # What S3 says in place of an answer.
        self.error = ""

    def get_object(self, Bucket: str, Key: str) -> Mapping[str, Any]:
        self.asked.append(Key)
        assert Bucket == "bucket"
        if self.error or Key not in self.objects:
            raise ClientError({"Error": {"Code": self.error or "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(self.objects[Key])}

    def release(self, version: str, files: Mapping[str, str], current: bool = True) -> None:
        """Put a release there."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        self.objects[f"releases/{version}.zip"] = buffer.getvalue()
        if current:
            self.objects["releases/current"] = version.encode()
