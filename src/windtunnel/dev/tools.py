"""What tests and checks need beyond the command line itself: pytest, mypy, Playwright, Chromium, for example.

All of it is large, so it is installed when it is first wanted.
"""

import shutil
import sys
from pathlib import Path

from windtunnel import locks
from windtunnel.local.venvs import uv
from windtunnel.stack import offline
from windtunnel.stack.base import Say, Stack
from windtunnel.stack.errors import Finding, Unmet
from windtunnel.stack.settings import ROOT, STATE_FOLDER

LOCK = ROOT / "locks" / "dev.txt"

# The launcher's: whoever changes the environment holds it.
EXCLUSIVE = ROOT / STATE_FOLDER / "venv.lock"

# The commands that may be a Chromium; the test of the web page takes the first that is there.
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def install(say: Say) -> None:
    """Install the tools into the environment that the launcher has made, each package checked by its hash.

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


def get_browser(stack: Stack, say: Say) -> None:
    """Install a Chromium for the test of the web page, if none is there.

    :raises Unmet: if none can be installed here.
    """
    if any(map(shutil.which, CHROMIUM)):
        return
    if not offline.is_debian_root():
        raise Unmet(Finding("no command `chromium`", "Install Chromium; on Debian: apt-get install chromium"))
    offline.run(stack, "browser.sh", say=say)
