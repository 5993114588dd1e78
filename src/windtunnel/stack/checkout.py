"""Where the stack's own files are: in the checkout, or in the installed package.

A package brings along what a stack needs of the checkout. Compose and the local engine want that as a folder
of its own, so it is copied into the user's repository once for each version.
"""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from windtunnel.stack.errors import StackError
from windtunnel.stack.repository import Repository
from windtunnel.stack.settings import ROOT, project_name

# What the wheel has beside the modules.
BROUGHT_ALONG = Path(__file__).resolve().parents[1] / "checkout"
# A folder with this file is a checkout.
COMPOSE_FILE = "docker-compose.yml"
# The file of a copy that says what it is a copy of.
FINGERPRINT = "fingerprint.txt"


def stack_root(state: Path) -> Path:
    """Return the folder that stacks are started from: the checkout, or a copy of what the package has of it.

    :param state: the folder of all that Windtunnel writes in the user's repository.
    """
    if (ROOT / COMPOSE_FILE).exists():
        return ROOT
    root, fingerprint = state / "checkout", _fingerprint()
    stamp = root / FINGERPRINT
    if not (stamp.exists() and stamp.read_text() == fingerprint):
        _copy(root, fingerprint)
    return root


def repository_of(folder: Path) -> Repository | None:
    """Return the repository that an installed package works on; None in a checkout, which has its own stack.

    :param folder: the current folder.
    :raises StackError: if the folder is in no repository.
    """
    if (ROOT / COMPOSE_FILE).exists():
        return None
    if repository := Repository.around(folder):
        return repository
    raise StackError(
        f"neither {folder} nor a folder above has a pyproject.toml with [tool.windtunnel]",
        next_step="Go to the repository of your DAGs, or add that table: an empty one will do.",
    )


def place(repository: Repository) -> dict[str, Any]:
    """Return what :func:`windtunnel.stack.choose.choose` takes for the stack of a repository.

    :raises StackError: if the repository's configuration cannot be used.
    """
    settings = repository.settings().items()
    return {
        "project": project_name(os.environ.get("COMPOSE_PROJECT_NAME") or repository.folder.name),
        # A variable of this process wins, as it does over a checkout's `.env`.
        "variables": {name: value for name, value in settings if name not in os.environ},
        "root": stack_root(repository.state_folder),
        "state_folder": repository.state_folder,
    }


def _copy(root: Path, fingerprint: str) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    # Made beside it, then renamed: another session may be starting.
    unfinished = root.with_name(f"{root.name}-{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", BROUGHT_ALONG.name)
    shutil.copytree(BROUGHT_ALONG, unfinished, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(BROUGHT_ALONG.parent, unfinished / "src" / "windtunnel", ignore=ignored)
    for script in (unfinished / "entrypoint.sh", *(unfinished / "offline").rglob("*.sh")):
        # An archive need not have kept the mode.
        script.chmod(0o755)
    (unfinished / FINGERPRINT).write_text(fingerprint)
    shutil.rmtree(root, ignore_errors=True)
    unfinished.rename(root)


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sorted(BROUGHT_ALONG.parent.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(BROUGHT_ALONG.parent)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
