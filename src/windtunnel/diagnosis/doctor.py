"""Looks for what keeps the stack from working, beyond what every start checks, and says what to do."""

import configparser
import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from windtunnel.diagnosis import held_up, preflight, releases, unstarted
from windtunnel.diagnosis.status import PLUGIN_REMEDY
from windtunnel.seeding.functions import read_functions
from windtunnel.stack.base import Say, Stack
from windtunnel.stack.command import COMMAND
from windtunnel.stack.errors import Finding, StackError

PREFIX = "AIRFLOW__"


def examine(stack: Stack, say: Say) -> list[Finding]:
    """Run every check, in the order in which one remedy may make another unnecessary.

    :param say: gets the name of each check before it runs.
    """
    checks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("variables, ports and settings files", lambda: preflight.settings_findings(stack.settings)),
        ("engine and ports", lambda: preflight.engine_findings(stack)),
        ("files, memory and disk", stack.resource_findings),
        ("Airflow settings", lambda: airflow_settings(stack)),
        ("functions, layers and resources", lambda: not_deployed(stack)),
        ("the way from a task to LocalStack and the functions", lambda: reachability(stack)),
        ("tasks that wait for a slot", lambda: held_up.findings(stack)),
        ("tasks of ECS and jobs of Batch that wait", lambda: unstarted.findings(stack)),
        ("releases of DAGs", lambda: releases.look(stack)[1]),
        ("Airflow's plugins", lambda: plugins(stack)),
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


def airflow_settings(stack: Stack) -> Iterator[Finding]:
    """Find options that Airflow does not know and would silently ignore, in variables and ``airflow.cfg``."""
    known = stack.ask_unstarted("settings")
    if known is None:
        return
    # A service does not get this shell's variables, but their owner may expect that.
    given = dict.fromkeys(os.environ, "your environment") | dict.fromkeys(stack.settings.file, ".env")
    for service, definition in stack.configuration["services"].items():
        given |= dict.fromkeys(definition.get("environment") or {}, f"the service {service}")
    settings = {name: origin for name, origin in given.items() if name.startswith(PREFIX)}
    yield from unknown_variables(settings, known)
    yield from unknown_options(stack.settings.folder("CONFIG_FOLDER") / "airflow.cfg", known)


def unknown_variables(given: Mapping[str, str], known: Mapping[str, Iterable[str]]) -> Iterator[Finding]:
    """Find misspelt ``AIRFLOW__SECTION__OPTION`` variables, each with the nearest known one.

    :param given: where each variable comes from.
    :param known: the options of each section.
    """
    names = [f"{PREFIX}{name}__{option}".upper() for name, options in known.items() for option in options]
    for name, origin in given.items():
        # A section's dot is an underscore in a variable's name.
        if name not in (wanted.replace(".", "_") for wanted in names):
            yield Finding(f"Airflow has no setting {name} (in {origin})", _meant(name, names))


def unknown_options(file: Path, known: Mapping[str, Iterable[str]]) -> Iterator[Finding]:
    """Find misspelt sections and options of an ``airflow.cfg``, each with the nearest known one."""
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
    for near in difflib.get_close_matches(word, list(words), n=1):
        return f"Did you mean {near}?"
    return "Remove it, or look it up in Airflow's configuration reference."


def not_deployed(stack: Stack) -> Iterator[Finding]:
    """Find functions, layers and resources that are not what their files say, if LocalStack runs."""
    if stack.is_running("localstack"):
        for name, reason in stack.ask("localstack", "not_deployed").items():
            yield Finding(
                f"{name} is not deployed: {reason}", "Correct the file: it is then deployed by itself."
            )


def plugins(stack: Stack) -> Iterator[Finding]:
    """Find plugins that Airflow cannot load, if the webserver runs."""
    if not stack.is_running("webserver"):
        return
    from windtunnel.airflow_api.client import AirflowApiError, AirflowClient

    try:
        for file, reason in AirflowClient.of(stack).plugin_errors():
            yield Finding(f"Airflow cannot load the plugin {file}: {reason}", PLUGIN_REMEDY)
    except AirflowApiError as error:
        yield Finding(f"Airflow does not say which plugins it has: {error}", f"{COMMAND} logs webserver")


def reachability(stack: Stack) -> Iterator[Finding]:
    """Find which of LocalStack and the functions tasks cannot reach, if the stack runs."""
    if not stack.is_running("scheduler"):
        return
    functions, _ = read_functions(stack.settings.folder("LAMBDAS_FOLDER"))
    # Of the others there is a finding already.
    wrong = stack.ask("localstack", "not_deployed") if stack.is_running("localstack") else {}
    names = [function.name for function in functions if function.folder.name not in wrong]
    for what, reason in stack.ask("scheduler", "aws", *names).items():
        remedy = "logs localstack" if what == "LocalStack" else f"deploy {what.split()[-1]}"
        yield Finding(f"a task cannot reach {what}: {reason}", f"{COMMAND} {remedy}")
