"""Looks for what keeps the stack from working, beyond what every start checks, and says what to do."""

import configparser
import difflib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from windtunnel.compose.stack import ComposeStack
from windtunnel.diagnosis import preflight
from windtunnel.diagnosis.preflight import Finding
from windtunnel.local.venvs import Venvs
from windtunnel.seeding import functions as seeding
from windtunnel.stack.base import Stack, StackError
from windtunnel.stack.prepare import REGISTRY_TIMEOUT

GIB = 1024**3

# All services hold 1.4 GB after ten runs; a build and the tasks of a DAG come on top. In bytes.
LEAST_MEMORY = 4 * GIB

# Base images, our images, the build cache and a database that grows, in bytes.
LEAST_DISK = 5 * GIB

# The local engine: its services and the tasks of a DAG; its environments, data and logs. In bytes.
LEAST_FREE_MEMORY = 2 * GIB
LEAST_ROOM = 2 * GIB

# User and group of the containers whose compose file does not name one, by the Dockerfile.
LOCALSTACK_USER = (1000, 1000)


PREFIX = "AIRFLOW__"

Say = Callable[[str], None]


def examine(stack: Stack, say: Say) -> list[Finding]:
    """Every check, in the order in which one remedy may make another unnecessary.

    :param say: gets the name of each check before it runs.
    """
    say("environment, ports and settings files")
    findings = preflight.before_engine(stack)
    if isinstance(stack, ComposeStack) and preflight.engine_version(stack) is None:
        return [*findings, *preflight.versions(stack)]
    checks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("engine and ports", lambda: preflight.with_engine(stack)),
        ("Airflow settings", lambda: airflow_settings(stack)),
        ("the way from a task to LocalStack and the functions", lambda: reachability(stack)),
    ]
    if isinstance(stack, ComposeStack):
        checks[:0] = [("access rights of the mounted files", lambda: unreadable(stack.configuration))]
        checks[2:2] = [
            ("memory and disk", lambda: docker_resources(stack)),
            ("images", lambda: images(stack)),
        ]
    else:
        checks[1:1] = [("memory and disk", lambda: machine_resources(stack))]
    for what, check in checks:
        say(what)
        try:
            findings += check()
        except StackError as error:
            return [*findings, Finding(": ".join(filter(None, (error.what, error.output))), error.next_step)]
    return findings


# Access rights


def unreadable(configuration: Mapping[str, Any]) -> Iterator[Finding]:
    """Mounted files and folders that the container's user may not read.

    Folders above a mounted one do not matter: the engine mounts as root, and the container enters below them.
    Elsewhere than on Linux the engine's virtual machine gives every user access.
    """
    if sys.platform != "linux":
        return
    seen: dict[Path, set[str]] = {}
    for name, service in configuration["services"].items():
        user, group = _user(service)
        for volume in service.get("volumes", []):
            if volume["type"] == "bind" and user is not None:
                for path in _closed(Path(volume["source"]), user, group):
                    seen.setdefault(path, set()).add(name)
    for path, services in seen.items():
        yield Finding(
            f"{path} is not readable by the user of {', '.join(sorted(services))}", f"chmod -R a+rX {path}"
        )


def _user(service: Mapping[str, Any]) -> tuple[int | None, int]:
    if "user" not in service:
        return LOCALSTACK_USER
    user, _, group = str(service["user"]).partition(":")
    # A name is known inside the image alone.
    return (int(user), int(group or 0)) if user.isdigit() else (None, 0)


def _closed(path: Path, user: int, group: int) -> Iterator[Path]:
    try:
        info = path.stat()
    except FileNotFoundError:  # a dangling link; Compose itself names a missing mount
        return
    if info.st_uid == user:
        read, execute = stat.S_IRUSR, stat.S_IXUSR
    elif info.st_gid == group:
        read, execute = stat.S_IRGRP, stat.S_IXGRP
    else:
        read, execute = stat.S_IROTH, stat.S_IXOTH
    is_folder = stat.S_ISDIR(info.st_mode)
    wanted = read | execute if is_folder or path.name == "entrypoint.sh" else read
    if info.st_mode & wanted != wanted:
        yield path
    elif is_folder:
        for child in path.iterdir() if os.access(path, os.R_OK) else ():
            if child.name not in ("__pycache__", ".git"):
                yield from _closed(child, user, group)


# The machine


def machine_resources(stack: Stack) -> Iterator[Finding]:
    """Too little memory, too little room for the checkout."""
    free = psutil.virtual_memory().available
    running = any(service.state == "running" for service in stack.services())
    if not running and free < LEAST_FREE_MEMORY:
        yield Finding(
            f"{free / GIB:.1f} GiB of memory are free; the stack wants {LEAST_FREE_MEMORY / GIB:.0f}",
            "End other programs, or lower parallelism in airflow.cfg.",
        )
    room = shutil.disk_usage(stack.root).free
    if room < LEAST_ROOM:
        yield Finding(
            f"{room / GIB:.1f} GiB are free at {stack.root}; the stack wants {LEAST_ROOM / GIB:.0f}",
            "Make room: `uv cache clean` empties the cache of packages.",
        )


def docker_resources(compose: ComposeStack) -> Iterator[Finding]:
    """Too little memory for the engine, too little room where it keeps its images."""
    said = compose.run(
        "docker", "info", "--format", "{{.MemTotal}} {{.DockerRootDir}}", what="asking the engine"
    )
    memory, _, root = said.strip().partition(" ")
    if int(memory) < LEAST_MEMORY:
        yield Finding(
            f"the engine has {int(memory) / GIB:.1f} GiB of memory; the stack wants {LEAST_MEMORY / GIB:.0f}",
            "Give it more (Docker Desktop: Settings, Resources), or lower parallelism in airflow.cfg.",
        )
    # In a virtual machine the engine's folder is not one of this machine.
    folder = Path(root) if Path(root).exists() else compose.root
    free = shutil.disk_usage(folder).free
    if free < LEAST_DISK:
        yield Finding(
            f"{free / GIB:.1f} GiB are free at {folder}; the stack wants {LEAST_DISK / GIB:.0f}",
            "Make room: `docker system df` shows what Docker keeps, `docker builder prune` clears its cache.",
        )


def images(compose: ComposeStack) -> Iterator[Finding]:
    """Base images that are neither here nor at a registry that answers."""
    for image in preflight.missing_images(compose, preflight.base_images(compose)):
        if not _registry_has(image):
            yield Finding(
                f"the image {image} is missing, and no registry has it for us",
                f"On Debian, as root: offline/images.sh {image}; elsewhere: docker save and docker load.",
            )


def _registry_has(image: str) -> bool:
    command = ["docker", "manifest", "inspect", image]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=REGISTRY_TIMEOUT, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return False
    return answer.returncode == 0


# Airflow's settings


def airflow_settings(stack: Stack) -> Iterator[Finding]:
    """Options that Airflow does not know and would silently ignore, in variables and in ``airflow.cfg``."""
    answer = _airflow_options(stack)
    if not answer:
        return
    known = json.loads(answer.splitlines()[-1])
    yield from unknown_variables(_given(stack), known)
    file = preflight.folder(stack, "CONFIG_FOLDER", "config") / "airflow.cfg"
    yield from unknown_options(file, known)


def _airflow_options(stack: Stack) -> str:
    """What Airflow says of them; empty where it is not installed yet."""
    module = ["-m", "windtunnel.services.answers", "settings"]
    what = "asking Airflow for its options"
    if isinstance(stack, ComposeStack):
        image = stack.configuration["services"]["scheduler"]["image"]
        if preflight.missing_images(stack, [image]):
            return ""
        package = stack.root / "src" / "windtunnel"
        return stack.run(
            "docker", "run", "--rm", "--network", "none", "--entrypoint", "python",
            "--volume", f"{package}:/opt/windtunnel/windtunnel:ro", image, *module, what=what,
        )  # fmt: skip
    venvs = Venvs(stack)
    if "airflow" in venvs.missing():
        return ""
    with tempfile.TemporaryDirectory() as home:
        environment = {"AIRFLOW_HOME": home, "PYTHONPATH": str(stack.root / "src"), "PATH": os.defpath}
        return stack.run(str(venvs.python("airflow")), *module, what=what, env=environment)


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
        functions = seeding.load_functions(preflight.folder(stack, "LAMBDAS_FOLDER", "lambdas"))
    except seeding.SeedingError:  # the preflight names it
        functions = []
    names = [function.name for function in functions]
    for what, reason in stack.ask("scheduler", "aws", *names).items():
        remedy = (
            "./windtunnel logs localstack"
            if what == "LocalStack"
            else f"./windtunnel deploy {what.split()[-1]}"
        )
        yield Finding(f"a task cannot reach {what}: {reason}", remedy)
