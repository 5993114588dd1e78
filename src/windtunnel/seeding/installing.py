"""Installs requirements for the functions' Python, as ``sam build`` does, and keeps what comes of them.

With ``python -m`` it does so for a process outside of LocalStack: it reads JSON and writes base64.
"""

import base64
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from windtunnel import locks
from windtunnel.seeding.functions import DEFAULTS
from windtunnel.seeding.packaging import add
from windtunnel.seeding.required import Required
from windtunnel.seeding.validation import SeedingError

# How those of LocalStack's variables begin that are meant for uv alone.
PREFIX = "INSTALLER_"

# What was not used for so long is removed, in seconds.
KEPT = 30 * 24 * 3600

# How much of uv's reason is part of an error, in characters.
TOLD = 700

# What uv says if the index does not answer.
UNREACHABLE = ("error sending request", "network was disabled", "Request failed", "timed out")

NAME = re.compile(r"\s*([A-Za-z0-9][\w.-]*)")


@dataclass(frozen=True)
class Installer:
    """Installs requirements.

    :param folder: keeps what was installed, a zip file for each content of requirements.
    :param python: that of the functions.
    :param uv: the program.
    :param variables: the whole environment of uv.
    :param say: gets a line before and after each installation.
    """

    folder: Path
    python: str
    uv: str
    variables: Mapping[str, str]
    say: Callable[[str], None]

    @classmethod
    def of(cls, variables: Mapping[str, str], say: Callable[[str], None]) -> "Installer":
        """Return the installer of a LocalStack with these variables."""
        given = {name: value for name, value in variables.items() if name.startswith(PREFIX) and value}
        own = {name.removeprefix(PREFIX): value for name, value in given.items()}
        bundle = Path(own.get("SSL_CERT_FILE", ""))
        if not (bundle.is_file() and bundle.stat().st_size):
            # The compose file names one in any case.
            own.pop("SSL_CERT_FILE", None)
        common = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": variables.get("HOME", "/"),
            "TMPDIR": variables.get("TMPDIR", tempfile.gettempdir()),
            "UV_SYSTEM_CERTS": "1",
        }
        folder, python = Path(variables["PACKAGES_FOLDER"]), variables["LAMBDA_RUNTIME_PYTHON"]
        return cls(folder, python, variables["UV"], {**common, **own}, say)

    def __call__(self, wanted: Required, prefix: str) -> bytes:
        """Return the packages that are required as a zip file, installed unless that was done before.

        :param prefix: what the names of its files begin with.
        :raises SeedingError: naming the line that cannot be installed.
        """
        key = json.dumps([[text for _, text in wanted.lines], wanted.constraints, prefix, *_PLATFORM])
        archive = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.zip"
        if not archive.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            # Of two processes that want the same, the second one waits and then finds it done.
            with locks.exclusive(self.folder / "lock"):
                if not archive.exists():
                    self._make(archive, wanted, prefix)
                    self._remove_old()
        os.utime(archive)
        return archive.read_bytes()

    def _make(self, archive: Path, wanted: Required, prefix: str) -> None:
        file = wanted.lines[0][0].partition(",")[0]
        self.say(f"installing {file}")
        began = time.monotonic()
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            packages = Path(place, "packages")
            self._uv(wanted, Path(place), packages)
            made = Path(place, "made.zip")
            with zipfile.ZipFile(made, "w") as zipped:
                for path in sorted(packages.rglob("*")):
                    name = path.relative_to(packages)
                    if path.is_file() and not _LEFT_OUT & {name.parts[0], path.parent.name}:
                        add(zipped, f"{prefix}{name}", path)
            number = len(list(packages.glob("*.dist-info")))
            made.rename(archive)
        self.say(f"installed {file}: {number} packages in {time.monotonic() - began:.1f} s")

    def _uv(self, wanted: Required, place: Path, target: Path) -> None:
        text = "".join(f"{line}\n" for _, line in wanted.lines)
        (place / "requirements.txt").write_text(text)
        (place / "constraints.txt").write_text(wanted.constraints)
        files = ("--requirements", "requirements.txt", "--constraints", "constraints.txt")
        # As pip does: if one has a hash, all have to have one.
        hashes = ["--require-hashes"] if "--hash" in text else []
        command = [self.uv, "pip", "install", "--quiet", "--target", str(target), "--python", self.python]
        try:
            process = subprocess.run(  # noqa: S603
                [*command, *files, *hashes],
                cwd=place,
                env=dict(self.variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise SeedingError(f"{wanted.lines[0][0]}: {self.uv} cannot be started: {error}") from error
        if process.returncode != 0:
            raise SeedingError(_why(process.stdout, wanted))

    def _remove_old(self) -> None:
        for path in self.folder.glob("*.zip"):
            if path.stat().st_mtime < time.time() - KEPT:
                path.unlink(missing_ok=True)


# Scripts, which name the Python of this machine; uv's lock file; bytecode.
_LEFT_OUT = {"bin", ".lock", "__pycache__"}

_PLATFORM = (DEFAULTS["Runtime"], platform.system(), platform.machine())


def _why(said: str, wanted: Required) -> str:
    """Return which line cannot be installed, uv's reason, and what to do.

    uv names a package, or a place in the text, but no line.
    """
    reason = " ".join(said.split()).removeprefix("error: ").replace(" cause: ", ": ")
    if len(reason) > TOLD:
        reason = f"{reason[:TOLD]} …"
    if any(text in said for text in UNREACHABLE):
        remedy = "The package index does not answer: check network and proxy, then save the file again."
    elif "Failed to build" in said:
        remedy = f"Ask for a version with a wheel for {DEFAULTS['Runtime']}."
    else:
        remedy = "Correct the line and save the file."
    return f"{_where(said, wanted)}: {reason} {remedy}"


def _where(said: str, wanted: Required) -> str:
    if found := re.search(r"`requirements.txt` at position (\d+)", said):
        left = int(found[1])
        for where, line in wanted.lines:
            if left <= len(line):
                return where
            left -= len(line) + 1
    named = [where for where, line in wanted.lines if (name := NAME.match(line)) and _names(said, name[1])]
    # Several contradict each other, or one needs what another does not allow.
    return " and ".join(named) or wanted.lines[0][0].partition(",")[0]


def _names(said: str, name: str) -> bool:
    """Whether uv's words contain a package, whose name it writes in lower case and with dashes."""
    normal = re.sub(r"[-_.]+", "-", name).lower()
    return re.search(rf"(?<![\w.-]){re.escape(normal)}(?![\w-])", said.lower()) is not None


def main() -> None:
    """Install what standard input asks for; exit with 1 and the reason if that cannot be done."""
    lines, constraints, prefix = json.load(sys.stdin)
    install = Installer.of(os.environ, lambda line: None)
    try:
        content = install(Required([tuple(line) for line in lines], constraints), prefix)
    except SeedingError as error:
        sys.exit(str(error))
    sys.stdout.write(base64.b64encode(content).decode())


if __name__ == "__main__":
    main()
