"""A user's repository, in which pytest is run."""

import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from windtunnel.stack.settings import ROOT

ARGUMENTS = ("-p", "windtunnel.pytest_plugin", "-p", "no:cacheprovider")

# How long a session may take, in seconds.
PATIENCE = 60

# Each session is a fork of a process that has imported pytest and what a stack needs: that takes longer than
# a session. The plugin is not among these modules: it would be too late for pytest to rewrite its assertions.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["pytest", "windtunnel.testing.stack", "windtunnel.diagnosis.evidence"])


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
        command = [*ARGUMENTS, *arguments]
        environment = self._environment(variables)
        output = [self.path / ".stdout", self.path / ".stderr"]
        process = _FORKS.Process(target=_run, args=(command, self.path / folder, environment, output))
        process.start()
        process.join(PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command, PATIENCE)
        result = subprocess.CompletedProcess(
            command, process.exitcode, *(file.read_text() for file in output)
        )
        process.close()
        return result

    def new_pytest(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run pytest with the plugin, in a process that has imported nothing before."""
        return subprocess.run(
            [sys.executable, "-m", "pytest", *ARGUMENTS, *arguments],
            cwd=self.path,
            env=self._environment({}),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def _environment(self, variables: dict[str, str]) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT / "src"), **self._variables, **variables}


def _run(arguments: list[str], folder: Path, environment: dict[str, str], output: list[Path]) -> None:
    """Become ``python -m pytest``."""
    for stream, file in zip((sys.stdout, sys.stderr), output, strict=True):
        with file.open("wb") as opened:
            os.dup2(opened.fileno(), stream.fileno())
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["pytest", *arguments]
    sys.path.insert(0, str(folder))
    sys.exit(pytest.console_main())
