"""What tests and checks need beyond the command line itself: pytest, mypy, Playwright and the like.

It is large, so it is installed when it is first wanted, into the environment that the launcher has made.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from windtunnel import locks
from windtunnel.local.venvs import uv
from windtunnel.stack.settings import ROOT, STATE_FOLDER

LOCK = ROOT / "locks" / "dev.txt"

# The launcher's: whoever changes the environment holds it.
EXCLUSIVE = ROOT / STATE_FOLDER / "venv.lock"


def install(say: Callable[[str], None]) -> None:
    """Install the tools into the environment of this process, every package checked against its hash.

    A copy of the lock file in the environment, ``tools.txt``, says that they are there. If the launcher
    makes another environment, that copy is gone with the tools.

    :param say: gets a line before an installation begins.
    :raises windtunnel.stack.errors.StackError: with the last words of what failed.
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
