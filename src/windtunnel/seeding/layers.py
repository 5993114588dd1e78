"""Layers, a folder of ``lambdas/layers/`` each: publishing them under the names that functions give them."""

import base64
import hashlib
import re
from contextlib import suppress
from typing import Any

from windtunnel.seeding.functions import LAYERS, Function
from windtunnel.seeding.packaging import MAX_UNZIPPED, MIB, Packages, unzipped
from windtunnel.seeding.validation import SeedingError

# https://docs.aws.amazon.com/lambda/latest/api/API_PublishLayerVersion.html
NAME = re.compile(r"[a-zA-Z0-9_-]{1,140}")

# The ARN of a layer's version.
ARN = re.compile(r"arn:[^:]+:lambda:[^:]+:\d+:layer:(?P<name>[^:]+):\d+")


class Layers:
    """The layers as they are saved now. What was made or has failed once is not tried again.

    A layer is named as in the list ``Layers`` of ``function.json``: by its folder, or by an ARN. A folder of
    the ARN's name goes before what somebody has published.
    """

    def __init__(self, packages: Packages, client: Any = None) -> None:
        """Publish nothing yet.

        :param client: boto3's for Lambda; None if nothing is to be published.
        """
        self._packages = packages
        self._client = client
        self._contents: dict[str, bytes | SeedingError] = {}

    def content(self, setting: str) -> bytes:
        """Return a layer's package; empty if it has no folder.

        :raises SeedingError: if there is no such layer, or the package cannot be made.
        """
        name = self._folder(setting)
        if name is None:
            return b""
        if name not in self._contents:
            try:
                self._contents[name] = self._packages.layer(name)
            except SeedingError as error:
                self._contents[name] = error
        found = self._contents[name]
        if isinstance(found, SeedingError):
            raise found
        return found

    def _folder(self, setting: str) -> str | None:
        arn, there = ARN.fullmatch(setting), self._packages.layers()
        name = arn["name"] if arn else setting
        if name in there:
            if not NAME.fullmatch(name):
                rule = "a layer's name is made of letters, digits, - and _, up to 140 of them"
                raise SeedingError(f"lambdas/{LAYERS}/{name}: {rule}")
            return name
        if arn:
            return None
        known = f"there are {', '.join(there)}" if there else "there is none yet"
        raise SeedingError(f"there is no layer {name}: make the folder lambdas/{LAYERS}/{name}; {known}")

    def prepare(self, function: Function) -> None:
        """Make the packages of a function's layers, which may take a while; what fails, fails later."""
        for setting in function.settings.get("Layers", []):
            with suppress(SeedingError, OSError):
                self.content(setting)

    def require_fit(self, function: Function, code: bytes) -> None:
        """Require that Lambda takes a function with all of its layers.

        :param code: the function's package.
        :raises SeedingError: naming the layer that is wrong, or the size.
        """
        where = f"lambdas/{function.folder.name}"
        try:
            sizes = [unzipped(self.content(one)) for one in function.settings.get("Layers", [])]
        except SeedingError as error:
            raise SeedingError(f"{where}/function.json, Layers: {error}") from error
        if (size := unzipped(code) + sum(sizes)) > MAX_UNZIPPED:
            raise SeedingError(
                f"{where} is {size / MIB:.0f} MB unzipped together with its layers, and Lambda takes "
                f"{MAX_UNZIPPED / MIB:.0f} MB: leave out what the function does not need"
            )

    def arn(self, setting: str) -> str:
        """Return the ARN of a layer; a new version is published if the folder has changed.

        :raises SeedingError: as ``content`` does, or if Lambda does not take it.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        content = self.content(setting)
        try:
            if arn := self.published(setting):
                return arn
            published = self._client.publish_layer_version(
                LayerName=self._folder(setting), Content={"ZipFile": content}
            )
        except (ClientError, BotoCoreError) as error:
            raise SeedingError(f"Lambda does not take the layer {setting}: {error}") from error
        return str(published["LayerVersionArn"])

    def published(self, setting: str) -> str | None:
        """Return the ARN of a layer's last version; None if the folder has other content now.

        :raises SeedingError: as ``content`` does.
        """
        name = self._folder(setting)
        if name is None:
            return setting
        # The latest comes first.
        for version in self._client.list_layer_versions(LayerName=name)["LayerVersions"][:1]:
            found = self._client.get_layer_version(LayerName=name, VersionNumber=version["Version"])
            digest = base64.b64encode(hashlib.sha256(self.content(name)).digest()).decode()
            if found["Content"]["CodeSha256"] == digest:
                return str(version["LayerVersionArn"])
        return None
