"""The scripts in ``offline/``: they install or make what no registry brings, from Debian's packages."""

import os
import shutil
from typing import TYPE_CHECKING

from windtunnel.stack.errors import Finding, StackError, Unmet

if TYPE_CHECKING:
    from windtunnel.stack.base import Say, Stack


def is_debian_root() -> bool:
    """Whether this process may install Debian's packages."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def run(stack: "Stack", script: str, *arguments: str, say: "Say") -> None:
    """Run one of the scripts; it says itself what it does.

    :raises Unmet: if it fails, with its last words.
    """
    try:
        path = str(stack.root / "offline" / script)
        stack.stream(path, *arguments, what=f"offline/{script}", on_line=say)
    except StackError as error:
        last = error.output.splitlines()[-1:] or [error.what]
        raise Unmet(Finding(last[0], f"By hand: offline/{' '.join((script, *arguments))}")) from error
