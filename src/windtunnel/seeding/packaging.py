"""The zip files of functions and layers: what is in their folders, and the packages that they require."""

import io
import os
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from windtunnel.seeding.functions import LAYERS, Function, followed
from windtunnel.seeding.required import FILE, Required, required
from windtunnel.seeding.validation import SeedingError

MIB = 1024 * 1024

# Of a package with all that is in it. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_ZIPPED, MAX_UNZIPPED = 50 * MIB, 250 * MIB

# Installs what is required and returns it as a zip file whose names begin with a prefix.
Install = Callable[[Required, str], bytes]

# A layer's folders that Lambda's Python runtime looks into.
# https://docs.aws.amazon.com/lambda/latest/dg/packaging-layers.html
LAYER_FOLDERS = ("python", "bin", "lib")


@dataclass(frozen=True)
class Packages:
    """Makes the packages of functions and layers.

    :param lambdas: the folder with all functions.
    :param library: the folder of ``airflow_relay``, which each function gets.
    """

    lambdas: Path
    library: Path
    install: Install

    def function(self, function: Function) -> bytes:
        """Return a function's package.

        :raises SeedingError: if its requirements cannot be installed, or as ``package`` does.
        """
        folder = function.folder
        return package([folder, self.library], self.installed(folder, folder.parent))

    def layers(self) -> list[str]:
        """Return the names of the layers that have a folder."""
        folder = self.lambdas / LAYERS
        there = sorted(folder.iterdir()) if folder.is_dir() else []
        return [path.name for path in there if path.is_dir() and path.name[0] not in "._"]

    def layer(self, name: str) -> bytes:
        """Return a layer's package.

        :raises SeedingError: if its folder is none of a layer, or as ``function`` does.
        """
        folder = followed(self.lambdas / LAYERS / name, self.lambdas)
        if not any((folder / entry).exists() for entry in (*LAYER_FOLDERS, FILE)):
            raise SeedingError(
                f"lambdas/{LAYERS}/{name} has neither python/ nor {FILE}: move its modules into python/"
            )
        return package([folder], self.installed(folder, self.lambdas, "python/"), self.lambdas)

    def installed(self, folder: Path, boundary: Path, prefix: str = "") -> bytes:
        """Return what a folder's requirements bring, as a zip file; empty if it has none.

        :param boundary: the folder that includes may not leave.
        :param prefix: what the names in the zip file begin with.
        :raises SeedingError: if they cannot be installed.
        """
        wanted = required(folder / FILE, boundary)
        return self.install(wanted, prefix) if wanted else b""


def package(folders: Iterable[Path], installed: bytes = b"", boundary: Path | None = None) -> bytes:
    """Zip the first folder's content and further folders by name; equal input makes equal bytes.

    What links lead to is packed like what is there itself.

    :param installed: a zip file to add to; files of the folders replace those of the same name.
    :param boundary: no link of the first folder may leave this one; the folder around it if None.
    :raises SeedingError: if a link cannot be followed, or Lambda's limits are exceeded.
    """
    main, *libraries = folders
    around = boundary or main.parent
    roots = [(f"{library.name}/", library, library.parent) for library in libraries]
    packed: dict[str, Path] = {}
    for prefix, root, bound in (*roots, ("", main, around)):
        packed |= files(root, bound, prefix, (root.resolve(),))
    buffer = io.BytesIO(_without(installed, packed.keys()))
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, path in packed.items():
            add(archive, name, path)
    content = buffer.getvalue()
    for size, limit, kind in (
        (len(content), MAX_ZIPPED, "zipped"),
        (unzipped(content), MAX_UNZIPPED, "unzipped"),
    ):
        if size > limit:
            raise SeedingError(
                f"lambdas/{os.path.relpath(main, around)} is {size / MIB:.0f} MB {kind}, and Lambda takes "
                f"{limit / MIB:.0f} MB: leave out what the function does not need"
            )
    return content


def add(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    """Add a file to a zip file: its content, and whether it may be executed."""
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (0o755 if path.stat().st_mode & 0o100 else 0o644) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, path.read_bytes())


def unzipped(content: bytes) -> int:
    """Return how many bytes the files of a zip file have; none if there is no zip file."""
    if not content:
        return 0
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _without(content: bytes, names: Collection[str]) -> bytes:
    """Return a zip file without the files of these names; as it is, which is quick, if it has none."""
    if not content:
        return content
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(buffer, "w") as others:
        if not set(archive.namelist()) & set(names):
            return content
        for entry in archive.infolist():
            if entry.filename not in names:
                others.writestr(entry, archive.read(entry))
    return buffer.getvalue()


def files(folder: Path, boundary: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    """Yield each file of a folder with its name in the package.

    :param boundary: the folder that no link may leave: the one with all functions.
    :param prefix: what the names begin with.
    :param above: the folders on the way here, by which a link in a circle is recognised.
    :raises SeedingError: if a link cannot be followed.
    """
    for path in sorted(folder.iterdir()):
        name, real = prefix + path.name, followed(path, boundary)
        if real in above:
            where = os.path.relpath(path, boundary)
            raise SeedingError(f"{boundary.name}/{where} is a link to a folder around it: remove the link")
        if path.name == "__pycache__":
            continue
        if path.is_dir():
            yield from files(path, boundary, f"{name}/", (*above, real))
        else:
            yield name, path
