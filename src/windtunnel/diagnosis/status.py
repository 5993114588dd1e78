"""What runs, what is in it, and what is wrong with it."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from windtunnel.diagnosis import batch, ecs, held_up, releases, sqs, unstarted
from windtunnel.diagnosis.containers import Row
from windtunnel.seeding.functions import DEFAULTS, read_functions
from windtunnel.services import dag_files
from windtunnel.stack import overlays
from windtunnel.stack.base import Stack
from windtunnel.stack.command import COMMAND
from windtunnel.stack.errors import LISTED, Finding, StackError
from windtunnel.stack.service import Service

# How many of the latest runs of each DAG are shown.
RUNS = 3

# What is listed of services of AWS, if they are in use: each has a module that says what.
LISTED_OF_AWS = {"ecs": ("ECS", ecs), "batch": ("Batch", batch), "sqs": ("SQS", sqs)}

# Seconds from which on the parsing of a DAG file is called slow; Airflow parses each again and again.
SLOW = 5.0


@dataclass(frozen=True)
class Report:
    """One look at the whole stack."""

    services: list[Service]
    # Overlays and replicas, for a person to read.
    laid_over: str = ""
    addresses: dict[str, str] = field(default_factory=dict)
    # Of each DAG its id, whether it is paused, and its latest runs' states.
    dags: list[tuple[str, bool, list[str]]] = field(default_factory=list)
    # File and traceback.
    import_errors: list[tuple[str, str]] = field(default_factory=list)
    # Files that make a DAG, but Airflow gets none from them.
    without_dag: list[str] = field(default_factory=list)
    # Of each function its name, its state, and what else a person has to know.
    functions: list[tuple[str, str, str]] = field(default_factory=list)
    # What clusters, queues and the like hold, by the service of AWS.
    aws: dict[str, list[Row]] = field(default_factory=dict)
    # The names of Airflow's variables that .env sets.
    given: list[str] = field(default_factory=list)
    # Of each plugin of Airflow's that cannot be loaded the file and the error.
    plugin_errors: list[tuple[str, str]] = field(default_factory=list)
    # Files that take long to parse, with the seconds.
    slow_files: dict[str, float] = field(default_factory=dict)
    # What keeps tasks waiting or makes the stack slower, though it works.
    warnings: list[Finding] = field(default_factory=list)
    # Which services did not answer, and why.
    silent: dict[str, str] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Everything is as it should be."""
        ready = all(service.ready for service in self.services)
        active = all(state == "Active" for _, state, _ in self.functions)
        return ready and active and not (self.import_errors or self.plugin_errors or self.silent)

    @classmethod
    def of(cls, stack: Stack) -> "Report":
        """Look at a stack. What does not answer is part of the report.

        :raises windtunnel.stack.errors.StackError: when the engine does not answer.
        """
        report = cls(
            stack.services(),
            overlays.described(stack.settings),
            given=stack.settings.given,
            warnings=stack.warnings(),
        )
        running = {service.name for service in report.services if service.state == "running"}
        for name, ask in (("webserver", report._ask_airflow), ("localstack", report._ask_localstack)):
            if name in running:
                report.addresses[name] = stack.address(name)
                ask(stack)
        with report._silence_noted("the bucket of the releases"):
            rows, findings = releases.look(stack)
            report.aws.update({"Releases of DAGs": rows} if rows else {})
            report.warnings.extend(findings)
        return report

    def _ask_airflow(self, stack: Stack) -> None:
        from windtunnel.airflow_api.client import AirflowApiError, AirflowClient

        try:
            airflow = AirflowClient.of(stack)
            known = set()
            # For all at once: a question for each of 300 DAGs took 80 s.
            runs = stack.ask("webserver", "latest_runs", str(RUNS))
            for dag in airflow.dags():
                known.add(str(dag.relative_fileloc))
                self.dags.append((dag.dag_id, dag.is_paused, runs.get(dag.dag_id, [])))
            for error in airflow.import_errors():
                known.add(error.filename)
                self.import_errors.append((error.filename, error.stack_trace))
            self.plugin_errors.extend(airflow.plugin_errors())
            self.slow_files.update(stack.ask("webserver", "slow_dag_files", str(SLOW)))
            self.without_dag.extend(files_without_dag(stack, known))
            self.warnings.extend(held_up.findings(stack))
        except (AirflowApiError, StackError) as error:
            self.silent["Airflow"] = str(error)

    def _ask_localstack(self, stack: Stack) -> None:
        from windtunnel.stack.aws import PATIENCE, Emulator

        with self._silence_noted("LocalStack"):
            emulator = Emulator.of(stack)
            client = emulator.client("lambda", **PATIENCE)
            for name in client.get_paginator("list_functions").paginate().search("Functions[].FunctionName"):
                found = client.get_function_configuration(FunctionName=name)
                self.functions.append((name, *state_of(found, stack)))
            in_use = emulator.in_use()
            for service, (title, module) in LISTED_OF_AWS.items():
                if service in in_use:
                    with self._silence_noted(title):
                        self.aws[title] = list(module.rows(emulator.client(service, **PATIENCE)))
            self.warnings.extend(unstarted.of_services(stack, emulator, in_use))

    @contextmanager
    def _silence_noted(self, who: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError, StackError) as error:
            self.silent[who] = str(error)


def state_of(configuration: Mapping[str, Any], stack: Stack) -> tuple[str, str]:
    """Return a function's state in a word, and the reason of a failure or what it runs on instead.

    :param configuration: as Lambda answers it.
    """
    if configuration["State"] != "Active":
        return configuration["State"], configuration.get("StateReason", "")
    if configuration.get("LastUpdateStatus") == "Failed":
        return "not updated", configuration.get("LastUpdateStatusReason", "")
    wanted, ours = configuration.get("Runtime"), DEFAULTS["Runtime"]
    # It takes a process to ask, and nearly always ours is theirs.
    there = ours if wanted == ours else stack.python_of_functions()
    return "Active", "" if wanted == there else f"for {wanted}, runs on {there}"


def function_folders(stack: Stack) -> dict[str, str]:
    """Return the name of each function's folder, by the function's name."""
    found, wrong = read_functions(stack.settings.folder("LAMBDAS_FOLDER"))
    # Deploying a broken one says what is wrong with it.
    broken = {folder.replace("_", "-"): folder for folder in wrong}
    return broken | {function.name: function.folder.name for function in found}


def files_without_dag(stack: Stack, known: Collection[str]) -> list[str]:
    """Return the files that Airflow reads and that make a DAG, but Airflow gets none from them.

    :param known: the files of which Airflow knows a DAG or an import error, relative to the DAGs folder.
    :raises windtunnel.stack.errors.StackError: if the webserver does not run.
    """
    found = dag_files.suspects(stack.settings.folder("DAGS_FOLDER"), known)
    # To answer, Airflow is imported, which takes 2 s.
    listed = stack.ask("webserver", "listed_dag_files") if found else []
    return [name for name in found if name in listed]


PLUGIN_REMEDY = f"Correct the file, then {COMMAND} up: Airflow reads plugins as a service starts."
SLOW_REMEDY = "Airflow parses it again and again: move what takes long into a task."

COLOURS = {
    "healthy": "green", "done": "green", "success": "green", "Active": "green",
    "starting": "yellow", "running": "yellow", "queued": "yellow", "paused": "yellow", "Pending": "yellow",
    "ACTIVE": "green", "ENABLED": "green", "RUNNING": "yellow", "STARTING": "yellow", "RUNNABLE": "yellow",
    "PENDING": "yellow", "PROVISIONING": "yellow", "DEPROVISIONING": "yellow",
    "current": "green", "older": "yellow", "absent": "dim",
}  # fmt: skip


def _word(word: str) -> str:
    colour = COLOURS.get(word, "red")
    return f"[{colour}]{escape(word)}[/{colour}]"


def sections(report: Report, pattern: str = "") -> Iterator[RenderableType]:
    """Return the report as a person reads it, a block of lines for each kind of thing.

    :param pattern: of the DAGs to be listed, as a shell has it; without one many are only counted.
    """
    if all(service.state == "absent" for service in report.services):
        yield f"The stack does not run. Start it: {COMMAND} up"
        return
    with_overlays = f", with {escape(report.laid_over)}" if report.laid_over else ""
    yield Group(f"Services{with_overlays}", _services(report))
    if any(service.state == "unsupervised" for service in report.services):
        yield f"\n[red]supervisord was killed[/red]: what is left runs on without it. Restart: {COMMAND} up"
    if report.dags:
        yield _dags(report.dags, pattern)
    for file, traceback in report.import_errors:
        indented = "\n".join(f"  │ {line}" for line in traceback.strip().splitlines())
        yield f"\n[red]Import error[/red] in {escape(file)}\n{escape(indented)}"
    for file, reason in report.plugin_errors:
        yield f"\n[red]Plugin error[/red] in {escape(file)}: {escape(reason)}\n  → {PLUGIN_REMEDY}"
    for file, seconds in report.slow_files.items():
        yield f"\n[yellow]Slow to parse[/yellow]: {escape(file)} took {seconds:.1f} s. {SLOW_REMEDY}"
    for file in report.without_dag:
        yield f"\n[yellow]No DAG[/yellow] comes of {escape(file)}: {dag_files.REMEDY}"
    yield from _of_aws(report)
    yield from _notes(report)


def _dags(all_dags: list[tuple[str, bool, list[str]]], pattern: str) -> Group:
    """Return the DAGs that match; of many without a pattern, their number and those that have failed last."""
    dags, heading = all_dags, "\nDAGs"
    if pattern:
        dags = [dag for dag in all_dags if fnmatchcase(dag[0], pattern)]
        heading += f": {len(dags):,} of {len(all_dags):,} match {escape(pattern)}"
    elif len(all_dags) > LISTED:
        failed = [dag for dag in all_dags if dag[2][:1] == ["failed"]]
        dags = failed[:LISTED]
        paused = sum(is_paused for _, is_paused, _ in all_dags)
        heading += f": {len(all_dags):,}, {paused:,} of them paused, {len(failed):,} failed last"
        heading += f"; the first {LISTED} of these" if len(failed) > LISTED else ""
        heading += f". Some by name: {COMMAND} status 'PATTERN*'"
    table = Table.grid(padding=(0, 2))
    for name, paused, states in dags:
        runs = ", ".join(map(_word, states)) or "no run yet"
        table.add_row("", escape(name), _word("paused") if paused else "active", f"latest runs: {runs}")
    return Group(heading, table)


def _of_aws(report: Report) -> Iterator[Group]:
    for what, rows in {"Functions": report.functions, **report.aws}.items():
        table = Table.grid(padding=(0, 2))
        for name, state, note in rows:
            table.add_row("", escape(name), _word(state), escape(note))
        if rows:
            yield Group(f"\n{what}", table)


def _notes(report: Report) -> Iterator[str]:
    if report.given:
        yield f"\nAirflow's variables from .env: {escape(', '.join(report.given))}"
    for what, reason in report.silent.items():
        yield f"\n[red]No answer[/red] from {what}: {escape(reason)}"
    for warning in report.warnings:
        yield f"\n[yellow]Warning[/yellow]: {escape(warning.problem)}\n  → {escape(warning.remedy)}"


def _services(report: Report) -> Table:
    services = Table.grid(padding=(0, 2))
    for service in report.services:
        notes = [report.addresses.get(service.name, "")]
        if not service.ready:
            notes.append(escape(service.health_output))
        if service.restarts:
            times = "once" if service.restarts == 1 else f"{service.restarts} times"
            notes.append(f"[yellow]ended by itself, {times}[/yellow]")
        services.add_row("", service.label, _word(service.summary), "; ".join(filter(None, notes)))
    return services
