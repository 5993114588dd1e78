"""The browser for the test of the web page."""

import shutil

from windtunnel.stack import offline
from windtunnel.stack.base import Say, Stack
from windtunnel.stack.errors import Finding, Unmet

# The commands that may be one; the test of the web page takes the first that is there.
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def get(stack: Stack, say: Say) -> None:
    """See to it that there is a Chromium.

    :raises Unmet: if there is none, and none can be installed here.
    """
    if any(map(shutil.which, CHROMIUM)):
        return
    if not offline.is_debian_root():
        raise Unmet(Finding("no command `chromium`", "Install Chromium; on Debian: apt-get install chromium"))
    offline.run(stack, "browser.sh", say=say)
