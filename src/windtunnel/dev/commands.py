"""The commands of this project itself: ``test``, ``check`` and ``bench``."""

import sys
import time
from typing import Annotated

import typer
from rich.table import Table

from windtunnel.cli.commands import EngineName, app, chosen, get_parts
from windtunnel.cli.output import FAILED, building, example, failures_explained, known, out, refuse, say
from windtunnel.dev import suite, tools
from windtunnel.stack.base import Stack


@app.command(
    "test",
    epilog=example(
        "./windtunnel test",
        "./windtunnel test unit",
        "./windtunnel test e2e --engine local",
        "./windtunnel test e2e -- -k retry -x",
    ),
)
def run_tests(
    floor: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(suite.FLOORS)}; all if none is given.")
    ] = None,
    arguments: Annotated[list[str] | None, typer.Argument(help="After --: for pytest.")] = None,
    rare: Annotated[
        bool, typer.Option("--all", help="With the tests that take too long for every run.")
    ] = False,
    engine_name: EngineName = None,
) -> None:
    """Run the project's own tests."""
    if floor:
        known(floor, suite.FLOORS, "floor")
    stack = with_tools(engine_name)
    floors = chosen_floors(stack, floor)
    with failures_explained():
        get_parts(stack)
        if "unit" in floors:
            get_beside(stack)
        if "e2e" in floors:
            tools.get_browser(stack, say)
    steps = [step for name in floors for step in suite.test_steps(stack, name, arguments or [], rare=rare)]
    run_steps(stack, steps)


def chosen_floors(stack: Stack, floor: str | None) -> list[str]:
    """Return the named floor, or else all that run on the stack's engine."""
    missing = "" if stack.engine == suite.COMPOSE else suite.COMPOSE
    if floor and floor == missing:
        what = f"the floor {floor} runs on the engine {floor} only"
        refuse(what, f"./windtunnel test {floor} --engine {floor}")
    if floor:
        return [floor]
    if missing:
        say(f"left out: the floor {missing}, which runs on the engine {missing} only")
    return [name for name in suite.FLOORS if name != missing]


def with_tools(engine_name: str | None) -> Stack:
    """Return the stack that tests run on; install its engine and the tools for tests if they are missing."""
    stack = chosen(engine_name)
    with failures_explained():
        tools.install(say)
        stack.get_engine(say)
    return stack


def get_beside(stack: Stack) -> None:
    """Get pytest and mypy for the parts of the stack, with progress, or raise StackError."""
    with building("getting what tests need") as on_line:
        stack.get_test_tools([beside.name for beside in suite.BESIDE], say, on_line)


@app.command(epilog=example("./windtunnel check", "./windtunnel check --quick"))
def check(
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the types, and with them all that has to be installed.")
    ] = False,
    engine_name: EngineName = None,
) -> None:
    """Check the code: format, lint, shell scripts, secrets, types."""
    stack = with_tools(engine_name)
    with failures_explained():
        if not quick:
            get_beside(stack)
        steps = list(suite.quick_steps(stack) if quick else suite.check_steps(stack))
    run_steps(stack, steps)


def run_steps(stack: Stack, steps: list[suite.Step]) -> None:
    """Run all steps, say at the end how each went, and exit with 1 if one failed."""
    outcomes = []
    for step in steps:
        out.print(f"[bold]── {step.name}[/bold]")
        start = time.monotonic()
        outcomes.append((step, step.run(stack), time.monotonic() - start))
    summary = Table.grid(padding=(0, 2))
    for step, code, seconds in outcomes:
        word = "[green]ok[/green]" if code == 0 else f"[red]failed[/red] (exit code {code})"
        summary.add_row(step.name, word, f"{seconds:.1f} s")
    out.print()
    out.print(summary)
    raise typer.Exit(FAILED if any(code for _, code, _ in outcomes) else 0)


@app.command(
    epilog=example(
        "./windtunnel bench", "./windtunnel bench operator", "./windtunnel bench -- --help    # its options"
    )
)
def bench(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="stack, operator, throughput, executors, celery, scaling or harness; all if none is given."
        ),
    ] = None,
    engine_name: EngineName = None,
) -> None:
    """Measure what the README claims, each part on a stack of its own."""
    stack = with_tools(engine_name)
    with failures_explained():
        get_parts(stack)
    step = suite.Step("bench", [sys.executable, "-m", "benchmarks.bench", *(arguments or [])])
    raise typer.Exit(step.run(stack))
