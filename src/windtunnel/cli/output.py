"""What the command line prints, and its exit codes.

Exit codes: 0 done; 1 it ran and failed; 2 wrong use or an unmet precondition, nothing was started.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from windtunnel.seeding.validation import SeedingError
from windtunnel.stack.base import Say
from windtunnel.stack.command import COMMAND
from windtunnel.stack.errors import Finding, StackError, Unmet, did_you_mean

FAILED = 1
REFUSED = 2
# A shell reports this for a command that Ctrl-C has ended.
INTERRUPTED = 130

# Nothing is wrapped: without a terminal, lines are for programs and log files.
out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)


def example(*lines: str) -> str:
    """Return the end of a verb's help."""
    return "[bold]Examples[/bold]\n\n" + "\n\n".join(f"  {line}" for line in lines)


def say(line: str) -> None:
    """Print a plain line of progress."""
    out.print(line, markup=False)


def complain(finding: Finding) -> None:
    """Print what is wrong, and what to do."""
    err.print(f"[red]error:[/red] {escape(finding.problem.replace(chr(10), chr(10) + ' ' * 7))}")
    if finding.remedy:
        err.print(f"  → {escape(finding.remedy)}")


def refuse(problem: str, remedy: str = "") -> NoReturn:
    """End with exit code 2."""
    complain(Finding(problem, remedy))
    raise typer.Exit(REFUSED)


@contextmanager
def failures_explained() -> Iterator[None]:
    """Turn what our own code raises into a message and an exit code."""
    try:
        yield
    except Unmet as unmet:
        for finding in unmet.findings:
            complain(finding)
        raise typer.Exit(REFUSED) from unmet
    except StackError as error:
        err.print(f"[red]error:[/red] {escape(error.what)}")
        if error.output:
            err.print(escape("\n".join(f"  │ {line}" for line in error.output.splitlines())), style="dim")
        if error.next_step:
            err.print(f"  → {escape(error.next_step)}")
        raise typer.Exit(FAILED) from error
    except SeedingError as error:
        complain(Finding(str(error), "Correct the file."))
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as interrupt:
        err.print(f"interrupted. What has started runs on: see {COMMAND} status, stop it with {COMMAND} down")
        raise typer.Exit(INTERRUPTED) from interrupt


def known(name: str, names: Iterable[str], kind: str) -> None:
    """Refuse a name that is not among ``names``."""
    names = sorted(names)
    if name not in names:
        refuse(f"there is no {kind} {name}", did_you_mean(name, names))


@contextmanager
def working(text: str) -> Iterator[Say]:
    """Show a spinner if there is a terminal, and hand out a function that changes its text."""
    with out.status(escape(text)) as spinner:
        yield lambda now: spinner.update(escape(now[: max(20, out.width - 4)]))


@contextmanager
def building(text: str) -> Iterator[Say]:
    """Hand out a function that takes a builder's plain output, shows each step, and says the long ones."""
    steps: dict[str, str] = {}
    with working(text) as show:

        def on_line(line: str) -> None:
            # `#7 [name 2/4] RUN …`, then `#7 DONE 3.2s`. Shorter steps than 1 s are not worth a line.
            found = re.match(r"#(\d+) (?:(?P<step>\[[^\]]+\] .*)|DONE (?P<seconds>[\d.]+)s)$", line)
            if found and found["step"]:
                steps[found[1]] = found["step"]
                show(found["step"])
            elif found and found[1] in steps and float(found["seconds"]) >= 1:
                say(f"{steps[found[1]][:70]} {found['seconds']} s")

        yield on_line
