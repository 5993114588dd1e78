"""What tests and checks need beyond the command line itself: pytest, mypy, Playwright and the like.

It is large, so it is installed when it is first wanted, into the environment that the launcher has made.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from windtunnel import locks
from windtunnel.stack.base import ROOT, STATE, StackError, tail

LOCK = ROOT / "locks" / "dev.txt"

# The launcher's: whoever changes the environment holds it.
EXCLUSIVE = ROOT / STATE / "venv.lock"


def install(say: Callable[[str], None]) -> None:
    """Install the tools into the environment of this process, every package checked against its hash.

    A copy of the lock file in the environment, ``tools.txt``, says that they are there. Where the launcher
    makes the environment anew, that copy is gone with the tools.

    :param say: is told before an installation begins.
    :raises windtunnel.stack.base.StackError: with the last words of what failed.
    """
    EXCLUSIVE.parent.mkdir(exist_ok=True)
    # Two commands at the same time: the second one waits, and finds it done.
    with locks.exclusive(EXCLUSIVE):
        stamp = Path(sys.prefix) / "tools.txt"
        wanted = LOCK.read_bytes()
        if stamp.exists() and stamp.read_bytes() == wanted:
            return
        say("installing the tools for tests and checks (once, about 10 s)")
        uv("pip", "install", "--python", sys.executable, "--require-hashes", "--requirement", str(LOCK))
        stamp.write_bytes(wanted)


def uv(*arguments: str | Path, settings: Mapping[str, str] = os.environ) -> None:
    """Run uv, which the launcher has installed beside this Python.

    :param settings: its environment.
    :raises windtunnel.stack.base.StackError: with the last words of what failed.
    """
    command = [str(Path(sys.executable).with_name("uv")), "--quiet", *map(str, arguments)]
    # Behind a proxy that inspects TLS: uv trusts what the machine trusts.
    environment = {"UV_SYSTEM_CERTS": "1", **settings}
    process = subprocess.run(  # noqa: S603
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if process.returncode != 0:
        raise StackError(
            f"`{' '.join(['uv', *command[2:]])}` failed",
            tail(process.stdout),
            "Check the network, or the file that is named; then again.",
        )
