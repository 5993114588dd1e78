"""A user's repository, in which pytest is run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from windtunnel.stack.settings import ROOT


class Repository:
    """A user's repository, in which pytest is run with a stand-in for what is slow."""

    def __init__(self, path: Path, stand_in: Path, **variables: str) -> None:
        """Write its files.

        :param stand_in: the module that becomes its ``conftest.py``.
        :param variables: of each pytest.
        """
        self.path = path
        self._variables = variables
        shutil.copy(stand_in, path / "conftest.py")
        self.configure("")
        (path / "requirements.txt").touch()

    def configure(self, *lines: str) -> None:
        """Write ``[tool.windtunnel]``."""
        (self.path / "pyproject.toml").write_text("\n".join(["[tool.windtunnel]", *lines, ""]))

    def pytest(
        self, *arguments: str, folder: str = ".", **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run pytest with the plugin.

        :param folder: where it is started.
        :param variables: for the stand-in.
        """
        command = [sys.executable, "-m", "pytest", "-p", "windtunnel.pytest_plugin", "-p", "no:cacheprovider"]
        return subprocess.run(
            [*command, *arguments],
            cwd=self.path / folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **self._variables, **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )
