"""Static checks: nothing here starts a container or needs a Docker daemon."""

import subprocess
from pathlib import Path

import pytest

from windtunnel.stack.settings import ROOT


@pytest.fixture(scope="session")
def repository_files() -> list[Path]:
    """The files that are, or on the next commit will be, in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    # A file can be in the index and yet deleted from the folder.
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]
