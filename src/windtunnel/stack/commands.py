"""Commands that are run for a stack, in its checkout and with its settings."""

import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from windtunnel.stack.errors import StackError
from windtunnel.stack.settings import Settings

Say = Callable[[str], None]

# How many of the last lines of a command or a log are part of an error.
TAIL = 15

# Compose puts this before lines of logs even without a terminal.
CLEAR_LINE = "\x1b[2K"


def tail(text: str) -> str:
    """Return the last lines of a text, as many as belong into an error."""
    return "\n".join(text.strip().splitlines()[-TAIL:])


class Commands:
    """Runs commands with the settings of a stack."""

    def __init__(self, settings: Settings) -> None:
        """Start nothing yet."""
        self.settings = settings

    @property
    def root(self) -> Path:
        """The checkout, or what takes its place."""
        return self.settings.root

    @property
    def command_variables(self) -> Mapping[str, str]:
        """The variables of every command that is started for this stack."""
        return self.settings.variables

    def popen(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[str]":
        """Start a command in the checkout.

        :param options: streams, and ``env`` in place of ``command_variables``.
        """
        options = {"env": self.command_variables, **options}
        return subprocess.Popen(command, cwd=self.root, text=True, **options)  # noqa: S603

    def run(
        self, *command: str, what: str, next_step: str = "", stdin: str | None = None, **options: Any
    ) -> str:
        """Run a command in the checkout and return its standard output.

        :param stdin: what it reads; nothing if None.
        :param options: those of ``popen``.
        :raises StackError: if it fails, with ``what`` and the end of its standard error.
        """
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = self.popen(command, **streams, **options)
        output, errors = process.communicate(stdin)
        _check(process, what, errors or output, next_step)
        return output

    def stream(self, *command: str, what: str, on_line: Say, next_step: str = "", **options: Any) -> None:
        """Run a command as ``run`` does, and hand over each line of its output and its errors as it comes.

        :raises StackError: if it fails, with the last of these lines.
        """
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = self.popen(command, **streams, **options)
        lines: deque[str] = deque(maxlen=TAIL)
        with process:
            try:
                for line in process.stdout or ():
                    lines.append(line.rstrip().removeprefix(CLEAR_LINE))
                    on_line(lines[-1])
            except BaseException:
                # No child stays behind if this ends early, by Ctrl-C for example.
                process.terminate()
                process.wait()
                raise
        _check(process, what, "\n".join(lines), next_step)


def _check(process: "subprocess.Popen[str]", what: str, output: str, next_step: str) -> None:
    if process.returncode != 0:
        raise StackError(f"{what} failed (exit code {process.returncode})", tail(output), next_step)
