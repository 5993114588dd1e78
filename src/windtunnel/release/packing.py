"""The zip file of a release: ``dags/``, ``custom/`` and the requirements. Equal input makes equal bytes."""

import hashlib
import io
import zipfile
from collections.abc import Iterator

from windtunnel.seeding.packaging import add, files
from windtunnel.stack import requirements
from windtunnel.stack.errors import Finding, Unmet
from windtunnel.stack.settings import Settings

# The folders of a release, with the setting of each.
FOLDERS = {"dags": "DAGS_FOLDER", "custom": "CUSTOM_FOLDER"}
REQUIREMENTS = "requirements.txt"

# How many characters of the content's hash are the version.
LENGTH = 12


def pack(settings: Settings) -> bytes:
    """Return the release of what these settings name.

    :raises Unmet: if there is no DAG file, or a folder cannot be packed as it is.
    :raises SeedingError: if a link leads out of its folder.
    :raises StackError: if the requirements cannot be read.
    """
    if problems := list(_problems(settings)):
        raise Unmet(*problems)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, setting in FOLDERS.items():
            folder = settings.folder(setting)
            for path_in_zip, path in files(folder, folder, f"{name}/", (folder.resolve(),)):
                add(archive, path_in_zip, path)
        archive.writestr(zipfile.ZipInfo(REQUIREMENTS), requirements.text(settings.requirements_file()))
    return buffer.getvalue()


def _problems(settings: Settings) -> Iterator[Finding]:
    folders = {name: settings.folder(setting) for name, setting in FOLDERS.items()}
    for name, folder in folders.items():
        if not folder.is_dir():
            yield Finding(f"the folder {folder} is not there", f"Make it, or set {FOLDERS[name]}.")
    if not any(path.suffix in (".py", ".zip") for path in folders["dags"].rglob("*")):
        remedy = "A release without a DAG would take all of them away. Name the folder that dags/ is in."
        yield Finding(f"there is no DAG file in {folders['dags']}", remedy)
    # As windtunnel.diagnosis.preflight says it of the folder that is mounted.
    for path in sorted(folders["custom"].rglob("__init__.py")):
        yield Finding(f"{path} hides Windtunnel's own package `custom`", "Delete the file: none is needed.")


def version_of(content: bytes) -> str:
    """Return the version of a release: what its content is, and not when it was made."""
    return hashlib.sha256(content).hexdigest()[:LENGTH]
