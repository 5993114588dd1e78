"""Looks for what keeps the stack from working, beyond what every start checks, and says what to do."""

import configparser
import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from windtunnel.diagnosis import preflight
from windtunnel.seeding.functions import load_functions
from windtunnel.seeding.validation import SeedingError
from windtunnel.stack.base import Stack
from windtunnel.stack.command import COMMAND
from windtunnel.stack.errors import Finding, StackError

PREFIX = "AIRFLOW__"

Say = Callable[[str], None]


def examine(stack: Stack, say: Say) -> list[Finding]:
    """Every check, in the order in which one remedy may make another unnecessary.

    :param say: gets the name of each check before it runs.
    """
    checks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("variables, ports and settings files", lambda: preflight.settings_findings(stack.settings)),
        ("engine and ports", lambda: preflight.engine_findings(stack)),
        ("files, memory and disk", stack.resource_findings),
        ("Airflow settings", lambda: airflow_settings(stack)),
        ("the way from a task to LocalStack and the functions", lambda: reachability(stack)),
        ("what makes starts slower", stack.warnings),
    ]
    findings: list[Finding] = []
    for what, check in checks:
        say(what)
        try:
            findings += check()
        except StackError as error:
            # What was found before is why this fails.
            return findings or [preflight.finding(error)]
    return findings


# Airflow's settings


def airflow_settings(stack: Stack) -> Iterator[Finding]:
    """Options that Airflow does not know and would silently ignore, in variables and in ``airflow.cfg``."""
    known = stack.ask_unstarted("settings")
    if known is None:
        return
    yield from unknown_variables(_given(stack), known)
    yield from unknown_options(stack.settings.folder("CONFIG_FOLDER") / "airflow.cfg", known)


def _given(stack: Stack) -> dict[str, str]:
    """Every variable that a service gets, and those of this shell, whose owner may expect that, too."""
    given = {name: "your environment" for name in os.environ if name.startswith(PREFIX)}
    for service, definition in stack.configuration["services"].items():
        for name in definition.get("environment") or {}:
            if name.startswith(PREFIX):
                given[name] = f"the service {service}"
    return given


def unknown_variables(given: Mapping[str, str], known: Mapping[str, Iterable[str]]) -> Iterator[Finding]:
    """Misspelt ``AIRFLOW__SECTION__OPTION`` variables, each with the nearest known one.

    :param given: each variable's name, and where it comes from.
    :param known: the options of each section.
    """
    names = [
        f"{PREFIX}{section}__{option}".upper() for section, options in known.items() for option in options
    ]
    for name, origin in given.items():
        # A section's dot is an underscore in a variable's name.
        if name not in (wanted.replace(".", "_") for wanted in names):
            yield Finding(f"Airflow has no setting {name} (in {origin})", _meant(name, names))


def unknown_options(file: Path, known: Mapping[str, Iterable[str]]) -> Iterator[Finding]:
    """Misspelt sections and options of an ``airflow.cfg``, each with the nearest known one."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(file)
    except configparser.Error:  # the preflight names it
        return
    for section in parser.sections():
        if section not in known:
            yield Finding(f"{file.name}: Airflow has no section [{section}]", _meant(section, known))
            continue
        for option in parser[section]:
            if option not in known[section]:
                problem = f"{file.name}: Airflow has no option {option} in [{section}]"
                yield Finding(problem, _meant(option, known[section]))


def _meant(word: str, words: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(words), n=1)
    return (
        f"Did you mean {near[0]}?"
        if near
        else "Remove it, or look it up in Airflow's configuration reference."
    )


# The running stack


def reachability(stack: Stack) -> Iterator[Finding]:
    """LocalStack and each function, asked from where tasks run; nothing while the stack does not run."""
    if not stack.is_running("scheduler"):
        return
    try:
        functions = load_functions(stack.settings.folder("LAMBDAS_FOLDER"))
    except SeedingError:  # the preflight names it
        functions = []
    names = [function.name for function in functions]
    for what, reason in stack.ask("scheduler", "aws", *names).items():
        remedy = (
            f"{COMMAND} logs localstack" if what == "LocalStack" else f"{COMMAND} deploy {what.split()[-1]}"
        )
        yield Finding(f"a task cannot reach {what}: {reason}", remedy)
