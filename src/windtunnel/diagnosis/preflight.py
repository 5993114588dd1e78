"""Checks of what has to be in order before a start; cheap enough for every ``up``."""

import configparser
from collections.abc import Iterator

from windtunnel.seeding.resources import load_resources
from windtunnel.seeding.validation import SeedingError
from windtunnel.services import init, real_aws, slots
from windtunnel.stack import choose, env_file, overlays, workers
from windtunnel.stack.base import Say, Stack
from windtunnel.stack.errors import Finding, StackError, Unmet
from windtunnel.stack.settings import FOLDERS, PORTS, Settings

HIGHEST_PORT = 65535


def check(stack: Stack, say: Say) -> None:
    """Check everything; a missing Docker Engine is installed if possible.

    :raises Unmet: with all that was found.
    """
    if found := settings_findings(stack.settings):
        raise Unmet(*found)
    stack.get_engine(say)
    if found := engine_findings(stack):
        raise Unmet(*found)


def settings_findings(settings: Settings) -> list[Finding]:
    """Return what is wrong with variables, ports and files, whichever engine runs the stack."""
    # The stack does not get the user's own variables, but their owner may expect that.
    aws = [Finding(*danger) for danger in real_aws.dangers({**settings.file, **settings.variables})]
    own = env_file.findings(settings.env_file, settings.file, settings.root / "docker-compose.yml")
    return [*aws, *own, *port_values(settings), *number_of_slots(settings), *settings_files(settings)]


def engine_findings(stack: Stack) -> list[Finding]:
    """Return what the engine finds; if nothing, what is wrong with others, overlays, scale and ports."""
    try:
        return list(stack.findings()) or [
            *choose.on_other_engines(stack),
            *overlays.engine_findings(stack.settings, stack.engine),
            *overlays.scale_findings(stack.settings.scale, stack.configuration),
            *workers.findings(stack.configuration, stack.settings.scale),
            *ports_in_use(stack),
        ]
    except StackError as error:
        return [finding(error)]


def finding(error: StackError) -> Finding:
    """Return an error as a finding."""
    return Finding(": ".join(filter(None, (error.what, error.output))), error.next_step)


def port_values(settings: Settings) -> Iterator[Finding]:
    """Find values that are no port, and services with the same port."""
    taken: dict[int, str] = {}
    for service, known in PORTS.items():
        name = known.setting
        value = settings.get(name) or settings.usual_port(service)
        if not value:
            continue
        if not (value.isascii() and value.isdigit() and int(value) <= HIGHEST_PORT):
            remedy = f"Set it to a port from 1 to {HIGHEST_PORT}, or to 0 for any free one."
            yield Finding(f"{name} is {value!r}", remedy)
            continue
        port = int(value)
        if port and port in taken:
            remedy = f"Give {name} a port of its own, or 0."
            yield Finding(f"{name} and {taken[port]} are both {port}", remedy)
        taken[port] = name


def number_of_slots(settings: Settings) -> Iterator[Finding]:
    """Find a ``PARALLELISM`` that is no number of slots."""
    value = settings.get(slots.SETTING)
    if value and not slots.is_valid(value):
        yield Finding(f"{slots.SETTING} is {value!r}", slots.REMEDY)


def settings_files(settings: Settings) -> Iterator[Finding]:
    """Find missing folders, and files in the user's folders that cannot be used."""
    folders = {name: settings.folder(name) for name in FOLDERS}
    missing = {name: path for name, path in folders.items() if not path.is_dir()}
    for name, path in missing.items():
        yield Finding(f"the folder {path} is not there", f"Make it, or set {name} to the right one.")
    if missing:
        return
    config = folders["CONFIG_FOLDER"]
    try:
        init.seed_files(config)
    except init.InitError as error:
        yield Finding(str(error), "Correct the file.")
    try:
        configparser.ConfigParser(interpolation=None).read(config / "airflow.cfg")
    except (configparser.Error, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        yield Finding(f"airflow.cfg in the config folder: {reason}", "Correct the file.")
    # Without this file, Python merges the folder with Windtunnel's own package `custom`.
    for path in sorted(folders["CUSTOM_FOLDER"].rglob("__init__.py")):
        yield Finding(f"{path} hides Windtunnel's own package `custom`", "Delete the file: none is needed.")
    try:
        load_resources(config / "aws.json")
    except SeedingError as error:
        yield Finding(str(error), "Correct the file.")


def ports_in_use(stack: Stack) -> Iterator[Finding]:
    """Find ports that the user has set and that another program listens on; else an engine finds one."""
    for service, port in PORTS.items():
        value = stack.settings.get(port.setting)
        if (number := int(value) if value.isdigit() else 0) and (by := stack.port_holder(service, number)):
            remedy = f"Stop that, or take another port: {port.setting}=0 means any free one."
            yield Finding(f"port {number} is in use by {by}", remedy)
