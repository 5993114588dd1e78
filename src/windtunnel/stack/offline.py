"""The scripts in ``offline/``: they install or make what no registry brings, from Debian's packages."""

import os
import shutil

from windtunnel.stack.base import Say, Stack
from windtunnel.stack.errors import Finding, StackError, Unmet


def is_debian_root() -> bool:
    """Whether this process may install Debian's packages."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def run(stack: Stack, script: str, *arguments: str, say: Say) -> None:
    """Run one of the scripts, which says itself what it does.

    :raises Unmet: if it fails, with its last words.
    """
    try:
        stack.stream(str(stack.root / "offline" / script), *arguments, what=f"offline/{script}", on_line=say)
    except StackError as error:
        last = error.output.splitlines()[-1:] or [error.what]
        raise Unmet(Finding(last[0], f"By hand: offline/{' '.join((script, *arguments))}")) from error
