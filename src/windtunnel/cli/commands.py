"""The verbs of ``./windtunnel`` and what they take."""

import importlib.util
import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from windtunnel.cli.output import (
    FAILED,
    building,
    complain,
    example,
    failures_explained,
    known,
    out,
    refuse,
    say,
    working,
)
from windtunnel.diagnosis import held_up, preflight, status, unstarted
from windtunnel.diagnosis.doctor import examine
from windtunnel.services import dag_files
from windtunnel.stack import checkout, choose, overlays, scaling
from windtunnel.stack.base import Stack
from windtunnel.stack.command import COMMAND
from windtunnel.stack.errors import Finding, ServiceFailed, StackError
from windtunnel.stack.repository import WITH_SETTING
from windtunnel.stack.settings import ENGINE_SETTING

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    # Local variables may hold the password.
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=f"Airflow on AWS on your machine. Start with: [bold]{COMMAND} up[/bold]",
)

ENGINE_HELP = (
    "What runs the stack: Docker Compose, or processes of this machine. "
    f"Without it {ENGINE_SETTING}; else what runs already; else compose if a Docker Engine answers."
)
EngineName = Annotated[str | None, typer.Option("--engine", metavar="compose|local", help=ENGINE_HELP)]

WITH_HELP = (
    "An overlay: a name of overlays/, or a compose file of your own. Repeatable. "
    f"Without it {WITH_SETTING}, else what runs already."
)
With = Annotated[list[str] | None, typer.Option("--with", metavar="NAME", help=WITH_HELP)]

SCALE_HELP = f"Run N replicas of a service. Repeatable. Without it {overlays.SCALE_SETTING}, else what runs."
Scale = Annotated[list[str] | None, typer.Option("--scale", metavar="SERVICE=N", help=SCALE_HELP)]

BUILD_HELP = "Build images, or install venvs, if needed."
VOLUMES_HELP = "Also delete the database, the secrets, the S3 buckets and the local task logs."
DATE_HELP = "In UTC. For DAGs whose templates use `ds` or `ts`; Airflow has none by default."
RELEASE_HELP = "Has dags/, custom/ and requirements.txt. Without it, what the stack would mount."
FOLLOW_HELP = "Show the tasks' logs live; exit 1 if the run fails."


def chosen(engine_name: str | None) -> Stack:
    """Return the stack that a verb works on: the running one, with its overlays."""
    with failures_explained():
        return _choice(engine_name).stack


def _choice(engine_name: str | None, **options: Any) -> choose.Choice:
    """Choose; an error of this refuses the command, because nothing has started."""
    try:
        repository = checkout.repository_of(Path.cwd())
        return choose.choose(engine_name, **(checkout.place(repository) if repository else {}), **options)
    except StackError as error:
        refuse(error.what, error.next_step)


def get_parts(stack: Stack) -> None:
    """Get images or venvs, with progress."""
    with building("getting what the stack is made of") as on_line:
        stack.get_parts(say, on_line)


@app.command(
    epilog=example(
        f"{COMMAND} up",
        f"{COMMAND} up --engine local     # no Docker",
        f"{COMMAND} up --with ./mine.yml --scale triggerer=2",
        f"WEBSERVER_PORT=0 {COMMAND} up   # any free port",
    )
)
def up(
    build: Annotated[bool, typer.Option("--build/--no-build", help=BUILD_HELP)] = True,
    with_: With = None,
    scale: Scale = None,
    engine_name: EngineName = None,
) -> None:
    """Start the stack and return when it is ready: DAGs parsed, buckets and functions there."""
    start = time.monotonic()
    with failures_explained():
        replicas = overlays.parsed_scale(scale or ())
        choice = _choice(engine_name, with_=with_ or (), scale=replicas, starting=True)
        stack = choice.stack
        say(f"engine: {stack.engine} ({choice.reason})")
        if laid_over := overlays.described(stack.settings):
            say(f"with: {laid_over}")
        preflight.check(stack, say)
        # LocalStack itself reads a checkout's.
        repository = checkout.repository_of(Path.cwd())
        resources = repository.resources() if repository else ()
        if build:
            get_parts(stack)
        with working("starting"):
            _start(stack)
            if resources:
                from windtunnel.testing.stack import RunningStack

                RunningStack(stack).create_resources(resources)
        welcome(stack, time.monotonic() - start)


def _start(stack: Stack) -> None:
    try:
        stack.up(say)
    except ServiceFailed as failure:
        if failure.service == "dag-processor":
            traceback = f"Its traceback: {COMMAND} status"
            failure.next_step = f"The others run. Correct the file: it is read again within 2 s. {traceback}"
        raise


def welcome(stack: Stack, seconds: float) -> None:
    """Print address, login, and what to try next."""
    user, password = stack.login()
    lines = Table.grid(padding=(0, 2))
    lines.add_row("Web page", stack.address("webserver"), f"user {user}, password {password}")
    lines.add_row("AWS", stack.address("localstack"), "LocalStack; keys test and test")
    out.print(f"\n[green]Ready[/green] in {seconds:.1f} s.\n")
    out.print(lines)
    for name in status.files_without_dag(stack, stack.ask("webserver", "known_dag_files")):
        out.print(f"[yellow]warning:[/yellow] no DAG comes of dags/{escape(name)}: {dag_files.REMEDY}")
    tries = Table.grid(padding=(0, 2))
    dag = "demo-dag" if COMMAND == "./windtunnel" else "DAG"
    tries.add_row(f"{COMMAND} run {dag} --follow", "run it and watch its log")
    tries.add_row(f"{COMMAND} status", "services, DAGs, functions")
    tries.add_row(*_edit(stack))
    tries.add_row(f"{COMMAND} down", "stop; --volumes also deletes the data")
    out.print("\nTry next")
    out.print(tries)


def _edit(stack: Stack) -> tuple[str, str]:
    from windtunnel.release.bucket import configured

    if configured(stack):
        return f"{COMMAND} release", "dags/ and custom/, as they are now, to the bucket that DAGs come from"
    return "edit dags/, custom/ or lambdas/", "a saved file is taken up by itself"


@app.command(epilog=example(f"{COMMAND} down", f"{COMMAND} down --volumes    # start afresh next time"))
def down(
    volumes: Annotated[bool, typer.Option("--volumes", help=VOLUMES_HELP)] = False,
    engine_name: EngineName = None,
) -> None:
    """Stop the stack and remove its processes, or its containers and network."""
    stack = chosen(engine_name)
    with failures_explained(), working("stopping"):
        stack.down(volumes=volumes)
    kept = "kept are the database, the S3 buckets and the task logs. LocalStack forgets all else"
    say("stopped, and its data deleted" if volumes else f"stopped; {kept}")


COOLDOWN_HELP = "With MIN..MAX: so many datapoints in a row, a minute each, call for fewer before one goes."


@app.command(
    "scale",
    epilog=example(f"{COMMAND} scale worker=3", f"{COMMAND} scale worker=1..4    # as its queue needs them"),
)
def scale_services(
    replicas: Annotated[
        list[str],
        typer.Argument(
            metavar="SERVICE=N…",
            help="How many of which service; or SERVICE=MIN..MAX of one worker of Celery, until Ctrl-C.",
        ),
    ],
    cooldown: Annotated[int, typer.Option(min=1, metavar="N", help=COOLDOWN_HELP)] = scaling.COOLDOWN,
    engine_name: EngineName = None,
) -> None:
    """Change how many replicas of a service run; one that goes has its grace period to end in."""
    with failures_explained():
        within = scaling.bounds(replicas)
        wanted = {} if within else overlays.parsed_scale(replicas, "scale")
        stack = chosen(engine_name)
        if not stack.is_there():
            option = f"--with celery --scale {within.service}=1" if within else f"--scale {replicas[0]}"
            refuse("the stack does not run", f"{COMMAND} up {option}")
        if within:
            from windtunnel.stack.following import follow

            for decision in follow(stack, within, say, cooldown):
                say(str(decision))
        else:
            with working("scaling"):
                stack.scaled(wanted).up(say, only=wanted)


@app.command("status", epilog=example(f"{COMMAND} status", f"{COMMAND} status 'example-*'"))
def show_status(
    dags: Annotated[str, typer.Argument(help="Of the DAGs to be listed, a pattern as of a shell.")] = "",
    engine_name: EngineName = None,
) -> None:
    """Show services, DAGs, runs, functions, tasks of ECS and the like; exit 1 if something is not healthy."""
    stack = chosen(engine_name)
    with failures_explained():
        report = status.Report.of(stack)
    for section in status.sections(report, dags):
        out.print(section)
    if not report.healthy:
        raise typer.Exit(FAILED)


@app.command(epilog=example(f"{COMMAND} logs", f"{COMMAND} logs scheduler --follow --tail 20"))
def logs(
    service: Annotated[str | None, typer.Argument(help="One service; all if none is given.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, help="Only that many of the last lines of each.")] = None,
    engine_name: EngineName = None,
) -> None:
    """Show what the services have logged."""
    stack = chosen(engine_name)
    with failures_explained():
        if service:
            known(service, stack.log_names, "service")
        stack.show_logs(service, follow=follow, tail=tail, on_line=say)


@app.command(
    epilog=example(
        f"{COMMAND} run demo-dag --follow",
        f"""{COMMAND} run demo-dag --conf '{{"max_len": 3, "fails_at": null}}' --follow""",
    )
)
def run(
    dag: Annotated[str, typer.Argument(help="The DAG's id.")],
    conf: Annotated[str | None, typer.Option(help="The run's configuration, a JSON object.")] = None,
    logical_date: Annotated[datetime | None, typer.Option(help=DATE_HELP)] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help=FOLLOW_HELP)] = False,
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
        if dag not in dags:
            for broken in airflow.import_errors():
                problem = f"{broken.filename} cannot be imported, so its DAGs are not there"
                complain(Finding(problem, f"Its traceback: {COMMAND} status"))
        known(dag, dags, "DAG")
        if dags[dag].is_paused:
            remedy = f"Unpause it on the web page: {airflow.address}/dags/{dag}"
            refuse(f"{dag} is paused: a run would not start", remedy)
        date = logical_date and logical_date.replace(tzinfo=UTC)
        started = airflow.trigger(dag, configuration, logical_date=date)
        say(f"run {started.dag_run_id}: {airflow.address}/dags/{dag}/runs/{started.dag_run_id}")
        if follow:
            show_run(airflow, started, lambda: what_is_waited_for(stack))
    except (AirflowApiError, WaitTimeout) as error:
        complain(Finding(str(error), f"{COMMAND} status"))
        raise typer.Exit(FAILED) from error


def parsed_conf(text: str | None) -> dict[str, Any] | None:
    """Return the run's configuration; refuse what is not a JSON object."""
    if text is None:
        return None
    right = """--conf '{"max_len": 3}'"""
    try:
        conf = json.loads(text)
    except json.JSONDecodeError as error:
        problem = f"--conf is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        refuse(problem, f"Quote it for the shell: {right}")
    if not isinstance(conf, dict):
        refuse(f"--conf must be a JSON object, not {type(conf).__name__}", f"For example: {right}")
    return conf


def require_running(stack: Stack, service: str) -> None:
    """Refuse if a service does not run."""
    if not stack.is_running(service):
        refuse(f"{service} does not run", f"{COMMAND} up")


def what_is_waited_for(stack: Stack) -> list[Finding]:
    """Find what keeps queued tasks from beginning, as far as the stack answers; ``status`` does the rest."""
    found: list[Finding] = []
    for look in (held_up.findings, unstarted.findings):
        with suppress(StackError):
            found += look(stack)
    return found


LEVEL_STYLES = {"warning": "yellow", "error": "red", "critical": "red", "debug": "dim"}


def show_run(airflow: Any, started: Any, look: Callable[[], list[Finding]]) -> None:
    """Follow a run to its end; exit 1 if it fails.

    :param look: finds what tasks wait for; what it finds is shown once they have waited for a while.
    """
    from windtunnel.cli.follow import Follower, Key

    if out.is_terminal:
        say("Ctrl-C leaves it running")
    last: Key | None = None

    def on_record(key: Key, record: Any) -> None:
        nonlocal last
        if key != last:
            index = f"[{key[1]}]" if key[1] >= 0 else ""
            out.print(f"── {key[0]}{index}, try {key[2]}", markup=False, style="bold")
        last = key
        # The web page folds the lines between these marks.
        if record.message.startswith(("::group::", "::endgroup::")):
            return
        clock = record.time.astimezone().strftime("%H:%M:%S.%f")[:-3] if record.time else " " * 12
        before = f"{clock} {record.level.upper():<8}"
        for line in record.lines() or [""]:
            out.print(f"{before} {line}", markup=False, style=LEVEL_STYLES.get(record.level, ""))
            before = " " * 21

    def on_wait() -> None:
        for finding in look():
            say(f"── {finding.problem}")
            say(f"   {finding.remedy}")

    run = Follower(airflow, started, on_record, on_wait).to_the_end(lambda state: say(f"── run {state}"))
    if run.state.value != "success":
        for note in airflow.notes(run):
            complain(Finding(note, f"{airflow.address}/dags/{run.dag_id}/runs/{run.dag_run_id}"))
        raise typer.Exit(FAILED)


@app.command(epilog=example(f"{COMMAND} deploy", f"{COMMAND} deploy airflow-test"))
def deploy(
    function: Annotated[str | None, typer.Argument(help="One function; all if none is given.")] = None,
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
            # By its folder, because the name of a broken one is not known.
            arguments = [folders.get(function, function)]
        require_running(stack, "localstack")
        command = ["python", "-m", "windtunnel.seeding", *arguments]
        next_step = "Correct the file; it is then deployed by itself."
        try:
            stack.run_in("localstack", *command, on_line=say, what="deploying", next_step=next_step)
        except StackError as error:
            # Its output was shown line by line.
            raise StackError(error.what, next_step=error.next_step) from error


@app.command(
    epilog=example(
        f"{COMMAND} release               # what is mounted: dags/ and custom/",
        f"{COMMAND} release ../my-dags    # the folder that these are in",
        f"{COMMAND} release --list",
        f"{COMMAND} release --to 3f2a9c1b04de",
    )
)
def release(
    folder: Annotated[Path | None, typer.Argument(help=RELEASE_HELP)] = None,
    to: Annotated[str | None, typer.Option(help="Make a release current that is in the bucket.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List what is in the bucket.")] = False,
    engine_name: EngineName = None,
) -> None:
    """Put DAGs into the bucket that the stack has them from, with `--with bundle`, and make them current."""
    stack = chosen(engine_name)
    with failures_explained():
        require_running(stack, "localstack")
        from windtunnel.release import releasing
        from windtunnel.release.bucket import Bucket, s3_explained

        with s3_explained():
            bucket = Bucket.of(stack)
            if list_:
                current = bucket.current()
                for one in bucket.releases():
                    mark = "  current" if current and one.version == current.version else ""
                    say(f"{one.version}  {one.since.astimezone():%Y-%m-%d %H:%M:%S}{mark}")
                return
            version, files = (to, []) if to else releasing.put(stack, bucket, folder, say)
            bucket.make_current(version)
        say(f"release {version} is current")
        if stack.is_running("dag-processor") and stack.is_running("webserver"):
            with working("waiting for Airflow"):
                behind = releasing.await_airflow(stack, bucket, version, files)
            note = f"; not parsed yet: {', '.join(behind)}" if behind else ""
            say(f"Airflow has it{note}. Runs that have begun go on with theirs")


@app.command(epilog=example(f"{COMMAND} doctor"))
def doctor(engine_name: EngineName = None) -> None:
    """Look for what keeps the stack from working, and say how to fix it; exit 1 if something is found."""
    stack = chosen(engine_name)
    with failures_explained(), working("looking") as show:
        findings = examine(stack, show)
    for finding in findings:
        out.print(f"[yellow]found:[/yellow] {escape(finding.problem)}\n  → {escape(finding.remedy)}")
    if findings:
        raise typer.Exit(FAILED)
    say("nothing found: all is in order")


def main() -> None:
    """Run the command line."""
    # The commands for this project itself are not shipped.
    if importlib.util.find_spec("windtunnel.dev"):
        importlib.import_module("windtunnel.dev.commands")
    app(prog_name=COMMAND)
