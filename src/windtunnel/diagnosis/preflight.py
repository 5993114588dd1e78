"""What has to be in order before anything is started; cheap enough for every ``up``."""

import configparser
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from windtunnel.compose.stack import PROJECT_LABEL, ComposeStack
from windtunnel.local.stack import ProcessStack
from windtunnel.seeding import functions as seeding
from windtunnel.services import init
from windtunnel.stack import ports
from windtunnel.stack.base import PORT_SETTINGS, Stack, StackError

# `start_interval` in a health check came with Engine 25.
OLDEST_ENGINE = (25,)

# The first Compose that knows `start_interval`.
OLDEST_COMPOSE = (2, 20, 2)

HIGHEST_PORT = 65535


@dataclass(frozen=True)
class Finding:
    """Something that is not in order, and what to do about it."""

    problem: str
    remedy: str


def before_engine(stack: Stack) -> list[Finding]:
    """What is the same for every engine: the environment, the ports' values, the files."""
    return [*real_aws(stack.environment), *port_values(stack), *settings_files(stack)]


def with_engine(stack: Stack) -> list[Finding]:
    """What only the engine itself can tell, or is particular to it."""
    try:
        if isinstance(stack, ComposeStack):
            return [*versions(stack), *other_checkout(stack), *local_stack(stack), *ports_in_use(stack)]
        return [*machine(), *compose_stack(stack), *ports_in_use(stack)]
    except StackError as error:
        return [Finding(": ".join(filter(None, (error.what, error.output))), error.next_step)]


def real_aws(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Anything in the environment that is for real AWS: nothing of it would reach the containers."""
    key = environment.get("AWS_ACCESS_KEY_ID", "")
    # How the ids of AWS's own keys begin: long-term and temporary ones.
    if key.startswith(("AKIA", "ASIA")):
        yield Finding(
            f"AWS_ACCESS_KEY_ID looks like a real key ({key[:4]}…)",
            "Windtunnel never talks to real AWS. Start it without: unset AWS_ACCESS_KEY_ID",
        )
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        if profile := environment.get(name):
            yield Finding(
                f"{name} is set ({profile})",
                f"Windtunnel never reads real AWS profiles. Start it without: unset {name}",
            )


def port_values(stack: Stack) -> Iterator[Finding]:
    """Ports that are none, and two services on the same one."""
    taken: dict[int, str] = {}
    for name, default in PORT_SETTINGS.values():
        value = stack.setting(name) or default
        if not value:
            continue
        if not (value.isascii() and value.isdigit() and int(value) <= HIGHEST_PORT):
            yield Finding(
                f"{name} is {value!r}",
                f"Set it to a port from 1 to {HIGHEST_PORT}, or to 0 for any free one.",
            )
            continue
        port = int(value)
        if port and port in taken:
            yield Finding(
                f"{name} and {taken[port]} are both {port}", f"Give {name} a port of its own, or 0."
            )
        taken[port] = name


def settings_files(stack: Stack) -> Iterator[Finding]:
    """Files in the config folder and in ``lambdas/`` that cannot be used."""
    config = folder(stack, "CONFIG_FOLDER", "config")
    functions = folder(stack, "LAMBDAS_FOLDER", "lambdas")
    missing = [
        (name, path)
        for name, path in (
            ("CONFIG_FOLDER", config),
            ("LAMBDAS_FOLDER", functions),
            ("DAGS_FOLDER", folder(stack, "DAGS_FOLDER", "dags")),
            ("CUSTOM_FOLDER", folder(stack, "CUSTOM_FOLDER", "custom")),
        )
        if not path.is_dir()
    ]
    for name, path in missing:
        yield Finding(f"the folder {path} is not there", f"Make it, or set {name} to the right one.")
    if missing:
        return
    try:
        init.seed_files(config)
    except init.InitError as error:
        yield Finding(str(error), "Correct the file.")
    try:
        configparser.ConfigParser(interpolation=None).read(config / "airflow.cfg")
    except (configparser.Error, UnicodeDecodeError) as error:
        yield Finding(
            f"airflow.cfg in the config folder: {' '.join(str(error).split())}", "Correct the file."
        )
    # A package with this file hides what Windtunnel itself has in `custom`; without it Python merges the two.
    for path in sorted(folder(stack, "CUSTOM_FOLDER", "custom").rglob("__init__.py")):
        yield Finding(f"{path} hides Windtunnel's own package `custom`", "Delete the file: none is needed.")
    for load, path in ((seeding.load_resources, config / "aws.json"), (seeding.load_functions, functions)):
        try:
            load(path)
        except seeding.SeedingError as error:
            yield Finding(str(error), "Correct the file.")


def folder(stack: Stack, setting: str, default: str) -> Path:
    """One of the user's folders: as its setting says, relative to the checkout, else the checkout's own."""
    return (stack.root / Path(stack.setting(setting) or default).expanduser()).resolve()


def version(text: str) -> tuple[int, ...]:
    """The numbers at the beginning of a version: ``v2.26.1-4`` is (2, 26, 1)."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", text.strip())
    return tuple(int(number) for number in found[1].split(".")) if found else ()


def engine_version(compose: ComposeStack) -> str | None:
    """The Docker engine's version; None when there is none that answers."""
    try:
        return compose.run(
            "docker", "version", "--format", "{{.Server.Version}}", what="asking the engine"
        ).strip()
    except StackError:
        return None


def versions(compose: ComposeStack) -> Iterator[Finding]:
    """An engine or a Compose that is missing or too old."""
    docker_version = engine_version(compose)
    if docker_version is None:
        yield Finding(
            "no Docker engine answers",
            "Install Docker Engine 25 or newer and start it; on Debian, as root: offline/engine.sh",
        )
        return
    if version(docker_version) < OLDEST_ENGINE:
        yield Finding(f"Docker Engine {docker_version} is too old", "Install Docker Engine 25 or newer.")
    try:
        plugin = compose.run("docker", "compose", "version", "--short", what="asking for Compose").strip()
    except StackError:
        yield Finding(
            "Docker Compose is missing", "Install its plugin for the docker command, 2.20.2 or newer."
        )
        return
    if version(plugin) < OLDEST_COMPOSE:
        yield Finding(f"Docker Compose {plugin} is too old", "Install 2.20.2 or newer.")


def other_checkout(compose: ComposeStack) -> Iterator[Finding]:
    """Containers of the same project name that belong to another folder."""
    column = '{{.Label "com.docker.compose.project.working_dir"}}'
    mine = f"label={PROJECT_LABEL}={compose.project}"
    command = ["docker", "ps", "--all", "--filter", mine, "--format", column]
    listed = compose.run(*command, what="asking the engine for containers")
    for other in sorted(set(listed.splitlines())):
        if other and Path(other).resolve() != compose.root.resolve():
            yield Finding(
                f"the project name {compose.project} is in use by the checkout {other}",
                f"Choose another for this one: export COMPOSE_PROJECT_NAME={compose.project}-2",
            )


def machine() -> Iterator[Finding]:
    """What the local engine needs of this machine."""
    if sys.platform != "linux":
        yield Finding(f"the local engine runs on Linux, and this is {sys.platform}", "Use --engine compose.")
    for program in ("bash", "setpriv"):
        if not shutil.which(program):
            yield Finding(
                f"there is no command `{program}`", "Install it; on Debian: apt-get install bash util-linux"
            )


def compose_stack(local: Stack) -> Iterator[Finding]:
    """A stack of this checkout that runs in Compose: the two would not know of each other."""
    compose = ComposeStack(local.project, local.environment, root=local.root)
    if engine_version(compose) is not None and any(service.id for service in compose.services()):
        yield Finding(
            f"the stack {local.project} is there in Compose already",
            "./windtunnel down --engine compose, or choose another project: export COMPOSE_PROJECT_NAME=…",
        )


def local_stack(compose: ComposeStack) -> Iterator[Finding]:
    """The same the other way round."""
    local = ProcessStack(compose.project, compose.environment, root=compose.root)
    if local.is_there():
        yield Finding(
            f"the stack {local.project} runs on the local engine already",
            "./windtunnel down --engine local, or choose another project: export COMPOSE_PROJECT_NAME=…",
        )


def ports_in_use(stack: Stack) -> Iterator[Finding]:
    """Set ports that somebody else listens on; our own running stack is no finding.

    Where no port is set and the usual one is taken, an engine takes another.
    """
    for service, (name, _) in PORT_SETTINGS.items():
        value = stack.setting(name)
        if port := int(value) if value.isdigit() else 0:
            by = foreign_holder(stack, service, port)
            if by:
                remedy = f"Stop that, or take another port: {name}=0 means any free one."
                yield Finding(f"port {port} is in use by {by}", remedy)


def foreign_holder(stack: Stack, service: str, port: int) -> str:
    """Who else listens on a port that a service is to have; empty for nobody and for our own stack."""
    if not ports.is_taken(port):
        return ""
    if isinstance(stack, ComposeStack):
        holder = container_on(stack, port)
        if holder and holder[1] == stack.project:
            return ""
        if holder:
            return f"the container {holder[0]}"
    elif isinstance(stack, ProcessStack) and stack.is_there() and stack.port(service) == port:
        return ""
    return ports.process_on(port) or "another program"


def container_on(compose: ComposeStack, port: int) -> tuple[str, str] | None:
    """Name and Compose project of the container that publishes the port."""
    columns = f'{{{{.Names}}}} {{{{.Label "{PROJECT_LABEL}"}}}}'
    command = ["docker", "ps", "--filter", f"publish={port}", "--format", columns]
    listed = compose.run(*command, what="asking the engine for containers")
    name, _, project = listed.partition("\n")[0].partition(" ")
    return (name, project) if name else None


def base_images(compose: ComposeStack) -> list[str]:
    """The images that come from elsewhere: the services' and those that the Dockerfile starts from."""
    services = compose.configuration["services"].values()
    images = {service["image"] for service in services} - {
        service["image"] for service in services if "build" in service
    }
    dockerfile = (compose.root / "Dockerfile").read_text()
    stages = re.findall(r"^FROM\s+\S+\s+AS\s+(\S+)", dockerfile, re.MULTILINE)
    return sorted(images | set(re.findall(r"^FROM\s+(\S+)", dockerfile, re.MULTILINE)) - set(stages))


def missing_images(compose: ComposeStack, images: Iterable[str]) -> list[str]:
    """Those of the images that the engine does not have."""
    return [image for image in images if not _present(compose, image)]


def _present(compose: ComposeStack, image: str) -> bool:
    try:
        compose.run("docker", "image", "inspect", "--format", "{{.Id}}", image, what="looking for an image")
    except StackError:
        return False
    return True
