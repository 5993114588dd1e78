"""Looks for what keeps the stack from working, beyond what every start checks, and says what to do."""

import configparser
import difflib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from windtunnel import preflight, seeding
from windtunnel.compose import Compose, ComposeError
from windtunnel.preflight import Finding
from windtunnel.prepare import REGISTRY_TIMEOUT

GIB = 1024**3

# All services hold 1.4 GB after ten runs; a build and the tasks of a DAG come on top. In bytes.
LEAST_MEMORY = 4 * GIB

# Base images, our images, the build cache and a database that grows, in bytes.
LEAST_DISK = 5 * GIB

# User and group of the containers whose compose file does not name one, by the Dockerfile.
LOCALSTACK_USER = (1000, 1000)


PREFIX = "AIRFLOW__"

Say = Callable[[str], None]


def examine(compose: Compose, say: Say) -> list[Finding]:
    """Every check, in the order in which one remedy may make another unnecessary.

    :param say: gets the name of each check before it runs.
    """
    findings: list[Finding] = []
    say("environment, ports and settings files")
    findings += preflight.before_engine(compose)
    say("access rights of the mounted files")
    engine = preflight.engine_version(compose)
    if engine is None:
        return [*findings, *preflight.versions(compose)]
    try:
        mounts = list(unreadable(compose.configuration))
    except ComposeError as error:
        return [*findings, Finding(f"{error.what}: {error.output}", error.next_step)]
    findings += mounts
    say("engine, Compose and ports")
    findings += preflight.with_engine(compose)
    say("memory and disk")
    findings += resources(compose)
    say("images")
    findings += images(compose)
    say("Airflow settings")
    findings += airflow_settings(compose)
    say("the way from a task to LocalStack and the functions")
    findings += reachability(compose)
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


def resources(compose: Compose) -> Iterator[Finding]:
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


def images(compose: Compose) -> Iterator[Finding]:
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


def airflow_settings(compose: Compose) -> Iterator[Finding]:
    """Options that Airflow does not know and would silently ignore, in variables and in ``airflow.cfg``."""
    image = compose.configuration["services"]["scheduler"]["image"]
    if preflight.missing_images(compose, [image]):
        return
    package = compose.root / "src" / "windtunnel"
    answer = compose.run(
        "docker", "run", "--rm", "--network", "none", "--entrypoint", "python",
        "--volume", f"{package}:/opt/windtunnel/windtunnel:ro", image, "-m", "windtunnel.inside", "settings",
        what="asking Airflow for its options",
    )  # fmt: skip
    known = json.loads(answer.splitlines()[-1])
    yield from unknown_variables(_given(compose), known)
    file = preflight.folder(compose, "CONFIG_FOLDER", "config") / "airflow.cfg"
    yield from unknown_options(file, known)


def _given(compose: Compose) -> dict[str, str]:
    """Every variable that a container gets, and those of this shell, whose owner may expect that, too."""
    given = {name: "your environment" for name in os.environ if name.startswith(PREFIX)}
    for service, definition in compose.configuration["services"].items():
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


def reachability(compose: Compose) -> Iterator[Finding]:
    """LocalStack and each function, asked from where tasks run; nothing while the stack does not run."""
    running = {service.name for service in compose.services() if service.state == "running"}
    if "scheduler" not in running:
        return
    try:
        functions = seeding.load_functions(preflight.folder(compose, "LAMBDAS_FOLDER", "lambdas"))
    except seeding.SeedingError:  # the preflight names it
        functions = []
    names = [function.name for function in functions]
    answer = compose.exec("scheduler", "python", "-m", "windtunnel.inside", "aws", *names)
    for what, reason in json.loads(answer.splitlines()[-1]).items():
        remedy = (
            "./windtunnel logs localstack"
            if what == "LocalStack"
            else f"./windtunnel deploy {what.split()[-1]}"
        )
        yield Finding(f"a task cannot reach {what}: {reason}", remedy)
