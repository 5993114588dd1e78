"""The command line ``./windtunnel``: what it takes, what it prints, and its exit codes.

Exit codes: 0 done; 1 it ran and failed; 2 wrong use or an unmet precondition, nothing was started.
"""

import difflib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from windtunnel.compose.stack import ComposeStack
from windtunnel.dev import suite, tools
from windtunnel.diagnosis import preflight, status
from windtunnel.diagnosis.preflight import Finding
from windtunnel.stack import choose, prepare
from windtunnel.stack.base import ServiceFailed, Stack, StackError

FAILED = 1
REFUSED = 2
# What a shell reports for a command that Ctrl-C has ended.
INTERRUPTED = 130

# How long `run --follow` waits for a run, in seconds: a day.
RUN_TIMEOUT = 86400.0

# What is there after `down` and `up`, and what is not.
KEPT = "stopped; kept are the database, the S3 buckets and the task logs. LocalStack forgets all else"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    # Local variables may hold the password.
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Airflow on AWS on your machine. Start with: [bold]./windtunnel up[/bold]",
)


# Without a terminal nothing is wrapped: lines are for programs and log files.
out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)


EngineName = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="compose|local",
        help="What runs the stack: Docker Compose, or processes of this machine. "
        f"Without it {choose.SETTING}; else what runs already; else compose where a Docker engine answers.",
    ),
]


def example(*lines: str) -> str:
    """The end of a verb's help."""
    return "[bold]Examples[/bold]\n\n" + "\n\n".join(f"  {line}" for line in lines)


def say(line: str) -> None:
    """One plain line of progress, as it is."""
    out.print(line, markup=False)


def complain(finding: Finding) -> None:
    """What is wrong, and what to do."""
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
    except prepare.Unmet as unmet:
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
    except KeyboardInterrupt as interrupt:
        err.print(
            "interrupted. What has started runs on: see ./windtunnel status, stop it with ./windtunnel down"
        )
        raise typer.Exit(INTERRUPTED) from interrupt


def known(name: str, names: Iterable[str], kind: str) -> None:
    """Refuse a name that is not among ``names``."""
    names = sorted(names)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        refuse(f"there is no {kind} {name}", f"{hint}There are: {', '.join(names) or 'none'}")


@contextmanager
def working(text: str) -> Iterator[Callable[[str], None]]:
    """A spinner on a terminal, and a function to change its text; nothing elsewhere."""
    with out.status(escape(text)) as spinner:
        yield lambda now: spinner.update(escape(now[: max(20, out.width - 4)]))


def chosen(name: str | None) -> Stack:
    """The engine that a verb works on; refused where the name is none."""
    try:
        return choose.choose(name).stack
    except StackError as error:
        refuse(error.what, error.next_step)


def get_parts(stack: Stack) -> None:
    """Images or environments, with progress."""
    with working("getting what the stack is made of") as show:
        prepare.parts(stack, say, prepare.BuildProgress(say, show))


@app.command(
    epilog=example(
        "./windtunnel up",
        "./windtunnel up --engine local     # no Docker",
        "WEBSERVER_PORT=0 ./windtunnel up   # any free port",
    )
)
def up(
    build: Annotated[
        bool, typer.Option("--build/--no-build", help="Build images, or install environments, where needed.")
    ] = True,
    engine_name: EngineName = None,
) -> None:
    """Start the stack and return when it is ready: DAGs parsed, buckets and functions there."""
    start = time.monotonic()
    try:
        choice = choose.choose(engine_name)
    except StackError as error:
        refuse(error.what, error.next_step)
    stack = choice.stack
    say(f"engine: {stack.name} ({choice.reason})")
    with failures_explained():
        prepare.check(stack, say)
        if build:
            get_parts(stack)
        with working("starting"):
            try:
                stack.up(say)
            except ServiceFailed as failure:
                if failure.service == "dag-processor":
                    failure.next_step = (
                        "The others run. Correct the file: it is read again within 2 s. "
                        "Its traceback: ./windtunnel status"
                    )
                raise
        welcome(stack, time.monotonic() - start)


def welcome(stack: Stack, seconds: float) -> None:
    """Address, login, and what to try next."""
    user, password = stack.login()
    lines = Table.grid(padding=(0, 2))
    lines.add_row("Web page", stack.address("webserver"), f"user {user}, password {password}")
    lines.add_row("AWS", stack.address("localstack"), "LocalStack; keys test and test")
    out.print(f"\n[green]Ready[/green] in {seconds:.1f} s.\n")
    out.print(lines)
    for name in status.files_without_dag(
        preflight.folder(stack, "DAGS_FOLDER", "dags"), set(stack.ask("webserver", "dag_files"))
    ):
        out.print(
            f"[yellow]warning:[/yellow] dags/{escape(name)} defines no DAG, and no other file imports it"
        )
    tries = Table.grid(padding=(0, 2))
    tries.add_row("./windtunnel run demo-dag --follow", "run the demo and watch its log")
    tries.add_row("./windtunnel status", "services, DAGs, functions")
    tries.add_row("edit dags/, custom/ or lambdas/", "a saved file is taken up by itself")
    tries.add_row("./windtunnel down", "stop; --volumes also deletes the data")
    out.print("\nTry next")
    out.print(tries)


@app.command(epilog=example("./windtunnel down", "./windtunnel down --volumes    # start afresh next time"))
def down(
    volumes: Annotated[
        bool,
        typer.Option(
            "--volumes", help="Also delete the database, the secrets, the S3 buckets and the local task logs."
        ),
    ] = False,
    engine_name: EngineName = None,
) -> None:
    """Stop the stack and remove its processes, or its containers and network."""
    stack = chosen(engine_name)
    with failures_explained(), working("stopping"):
        stack.down(volumes=volumes)
    say("stopped, and its data deleted" if volumes else KEPT)


@app.command("status", epilog=example("./windtunnel status"))
def show_status(engine_name: EngineName = None) -> None:
    """Show services, addresses, DAGs, functions and the last runs; exit 1 where something is not healthy."""
    stack = chosen(engine_name)
    with failures_explained():
        report = status.Report.of(stack)
    for section in status.sections(report):
        out.print(section)
    if not report.healthy:
        raise typer.Exit(FAILED)


@app.command(epilog=example("./windtunnel logs", "./windtunnel logs scheduler --follow --tail 20"))
def logs(
    service: Annotated[str | None, typer.Argument(help="One service; all where none is given.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, help="Only that many of the last lines of each.")] = None,
    engine_name: EngineName = None,
) -> None:
    """Show what the services have logged."""
    stack = chosen(engine_name)
    with failures_explained():
        if service:
            known(service, stack.service_names, "service")
        stack.show_logs(service, follow=follow, tail=tail, on_line=say)


@app.command(
    epilog=example(
        "./windtunnel run demo-dag --follow",
        """./windtunnel run demo-dag --conf '{"max_len": 3, "fails_at": null}' --follow""",
    )
)
def run(
    dag: Annotated[str, typer.Argument(help="The DAG's id.")],
    conf: Annotated[str | None, typer.Option(help="The run's configuration, a JSON object.")] = None,
    logical_date: Annotated[
        datetime | None,
        typer.Option(help="In UTC. For DAGs whose templates use `ds` or `ts`; Airflow has none by default."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show the tasks' logs live; exit 1 where the run fails.")
    ] = False,
    engine_name: EngineName = None,
) -> None:
    """Start a run of a DAG."""
    configuration = parsed_conf(conf)
    stack = chosen(engine_name)
    with failures_explained():
        require_running(stack, "webserver")
        from windtunnel.airflow_api.client import AirflowApiError, AirflowClient
        from windtunnel.waiting import WaitTimeout

        airflow = AirflowClient.of(stack)
    try:
        dags = {found.dag_id: found for found in airflow.dags()}
        known(dag, dags, "DAG")
        if dags[dag].is_paused:
            remedy = f"Unpause it on the web page: {airflow.address}/dags/{dag}"
            refuse(f"{dag} is paused: a run would not start", remedy)
        started = airflow.trigger(
            dag, configuration, logical_date=logical_date and logical_date.replace(tzinfo=UTC)
        )
        say(f"run {started.dag_run_id}: {airflow.address}/dags/{dag}/runs/{started.dag_run_id}")
        if follow:
            show_run(airflow, started)
    except (AirflowApiError, WaitTimeout) as error:
        complain(Finding(str(error), "./windtunnel status"))
        raise typer.Exit(FAILED) from error


def parsed_conf(text: str | None) -> dict[str, Any] | None:
    """The run's configuration; refused where it is not a JSON object."""
    if text is None:
        return None
    try:
        conf = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        refuse(
            f"--conf is not JSON: {error.msg} at {where}",
            """Quote it for the shell: --conf '{"max_len": 3}'""",
        )
    if not isinstance(conf, dict):
        refuse(
            f"--conf must be a JSON object, not {type(conf).__name__}",
            """For example: --conf '{"max_len": 3}'""",
        )
    return conf


def require_running(stack: Stack, service: str) -> None:
    """Refuse where a service does not run."""
    if not stack.is_running(service):
        refuse(f"{service} does not run", "./windtunnel up")


LEVEL_STYLES = {"warning": "yellow", "error": "red", "critical": "red", "debug": "dim"}


def show_run(airflow: Any, started: Any) -> None:
    """Follow a run to its end; exit 1 where it fails."""
    from windtunnel.cli.follow import Follower, Key

    if out.is_terminal:
        say("Ctrl-C leaves it running")
    last: list[Key] = []

    def on_record(key: Key, record: Any) -> None:
        if last != [key]:
            last[:] = [key]
            index = f"[{key[1]}]" if key[1] >= 0 else ""
            out.print(f"── {key[0]}{index}, try {key[2]}", markup=False, style="bold")
        clock = record.time.astimezone().strftime("%H:%M:%S.%f")[:-3] if record.time else " " * 12
        style = LEVEL_STYLES.get(record.level, "")
        lines = record.lines()
        # Marks between which the web page folds lines.
        if record.message.startswith(("::group::", "::endgroup::")):
            return
        for number, line in enumerate(lines or [""]):
            before = f"{clock} {record.level.upper():<8}" if number == 0 else " " * 21
            out.print(f"{before} {line}", markup=False, style=style)

    run = Follower(airflow, started, on_record).to_the_end(RUN_TIMEOUT, lambda state: say(f"── run {state}"))
    if run.state.value != "success":
        for note in airflow.notes(run):
            complain(Finding(note, f"{airflow.address}/dags/{run.dag_id}/runs/{run.dag_run_id}"))
        raise typer.Exit(FAILED)


@app.command(epilog=example("./windtunnel deploy", "./windtunnel deploy airflow-test"))
def deploy(
    function: Annotated[str | None, typer.Argument(help="One function; all where none is given.")] = None,
    engine_name: EngineName = None,
) -> None:
    """Deploy Lambda functions and say what is wrong with them. A saved file is deployed by itself, too."""
    stack = chosen(engine_name)
    with failures_explained():
        arguments = []
        if function:
            folders = status.function_folders(stack)
            if function not in folders.values():
                known(function, folders, "function")
            # By its folder: of a broken one that alone is known.
            arguments = [folders.get(function, function)]
        require_running(stack, "localstack")
        command = ["python", "-m", "windtunnel.seeding", *arguments]
        next_step = "Correct the file; it is then deployed by itself."
        stack.run_in("localstack", *command, on_line=say, what="deploying", next_step=next_step)


@app.command(epilog=example("./windtunnel doctor"))
def doctor(engine_name: EngineName = None) -> None:
    """Look for what keeps the stack from working, and say how to mend it; exit 1 where something is found."""
    from windtunnel.diagnosis import doctor as examination

    stack = chosen(engine_name)
    with failures_explained(), working("looking") as show:
        findings = examination.examine(stack, show)
    for finding in findings:
        out.print(f"[yellow]found:[/yellow] {escape(finding.problem)}")
        out.print(f"  → {escape(finding.remedy)}")
    if findings:
        raise typer.Exit(FAILED)
    say("nothing found: all is in order")


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
        str | None, typer.Argument(help=f"One of {', '.join(suite.FLOORS)}; all where none is given.")
    ] = None,
    arguments: Annotated[list[str] | None, typer.Argument(help="After --: for pytest.")] = None,
    engine_name: EngineName = None,
) -> None:
    """Run the project's own tests."""
    if floor:
        known(floor, suite.FLOORS, "floor")
    floors = [floor] if floor else list(suite.FLOORS)
    stack = with_tools(engine_name)
    with failures_explained():
        get_parts(stack)
        if "unit" in floors:
            get_beside(stack)
        if "e2e" in floors:
            prepare.browser(stack, say)
    steps = [step for name in floors for step in suite.test_steps(stack, name, arguments or [])]
    run_steps(stack, steps)


def with_tools(engine_name: str | None) -> Stack:
    """The engine that the project's own tests run on, and the tools for them; both are got where needed."""
    stack = chosen(engine_name)
    with failures_explained():
        tools.install(say)
        if isinstance(stack, ComposeStack):
            prepare.docker(stack, say)
    return stack


def get_beside(stack: Stack) -> None:
    """What tests and checks need beside Airflow and in LocalStack, with progress."""
    with working("getting what tests need") as show:
        suite.get_beside(stack, prepare.BuildProgress(say, show))


@app.command(epilog=example("./windtunnel check"))
def check(engine_name: EngineName = None) -> None:
    """Check the code: format, lint, types, shell scripts."""
    stack = with_tools(engine_name)
    with failures_explained():
        if isinstance(stack, ComposeStack):
            prepare.base(stack, say)
        else:
            get_parts(stack)
        get_beside(stack)
    run_steps(stack, list(suite.check_steps(stack)))


def run_steps(stack: Stack, steps: list[suite.Step]) -> None:
    """Run all of them, say at the end how each went, and exit with 1 where one failed."""
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
    ),
)
def bench(
    arguments: Annotated[
        list[str] | None, typer.Argument(help="stack, operator or harness; all where none is given.")
    ] = None,
    engine_name: EngineName = None,
) -> None:
    """Measure what the README claims, each part on a stack of its own."""
    stack = with_tools(engine_name)
    with failures_explained():
        get_parts(stack)
    step = suite.Step("bench", [sys.executable, "-m", "benchmarks.bench", *(arguments or [])])
    raise typer.Exit(step.run(stack))


def main() -> None:
    """Run the command line."""
    app(prog_name="./windtunnel")
