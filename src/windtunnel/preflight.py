"""What has to be in order before anything is started; cheap enough for every ``up``."""

import configparser
import errno
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from windtunnel import init, seeding
from windtunnel.compose import PROJECT_LABEL, Compose, ComposeError

# `start_interval` in a health check came with Engine 25.
OLDEST_ENGINE = (25,)

# The first Compose that knows `start_interval`.
OLDEST_COMPOSE = (2, 20, 2)

# Each port that the stack publishes, and its default; Postgres is published only where its variable is set.
PORT_SETTINGS = {"WEBSERVER_PORT": "8080", "LOCALSTACK_PORT": "4566", "POSTGRES_PORT": ""}

HIGHEST_PORT = 65535


@dataclass(frozen=True)
class Finding:
    """Something that is not in order, and what to do about it."""

    problem: str
    remedy: str


def before_engine(compose: Compose) -> list[Finding]:
    """What can be found without a Docker engine: the environment, the ports' values, the files."""
    return [*real_aws(compose.environment), *port_values(compose), *settings_files(compose)]


def with_engine(compose: Compose) -> list[Finding]:
    """What an engine that answers is needed for."""
    try:
        return [*versions(compose), *other_checkout(compose), *ports_in_use(compose)]
    except ComposeError as error:
        return [Finding(f"{error.what}: {error.output}", error.next_step)]


def real_aws(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Anything in the environment that is for real AWS: nothing of it would reach the containers."""
    key = environment.get("AWS_ACCESS_KEY_ID", "")
    # How the ids of AWS's own keys begin: long-term and temporary ones.
    if key.startswith(("AKIA", "ASIA")):
        yield Finding(
            f"AWS_ACCESS_KEY_ID looks like a real key ({key[:4]}…)",
            "Windtunnel never talks to real AWS. Start it without: env -u AWS_ACCESS_KEY_ID ./windtunnel …",
        )
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        if profile := environment.get(name):
            yield Finding(
                f"{name} is set ({profile})",
                f"Windtunnel never reads real AWS profiles. Start it without: env -u {name} ./windtunnel …",
            )


def port_values(compose: Compose) -> Iterator[Finding]:
    """Ports that are none, and two services on the same one."""
    taken: dict[int, str] = {}
    for name, default in PORT_SETTINGS.items():
        value = compose.setting(name) or default
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


def settings_files(compose: Compose) -> Iterator[Finding]:
    """Files in the config folder and in ``lambdas/`` that cannot be used."""
    config = folder(compose, "CONFIG_FOLDER", "config")
    functions = folder(compose, "LAMBDAS_FOLDER", "lambdas")
    missing = [
        (name, path)
        for name, path in (
            ("CONFIG_FOLDER", config),
            ("LAMBDAS_FOLDER", functions),
            ("DAGS_FOLDER", folder(compose, "DAGS_FOLDER", "dags")),
            ("CUSTOM_FOLDER", folder(compose, "CUSTOM_FOLDER", "custom")),
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
    for path in sorted(folder(compose, "CUSTOM_FOLDER", "custom").rglob("__init__.py")):
        yield Finding(f"{path} hides Windtunnel's own package `custom`", "Delete the file: none is needed.")
    for load, path in ((seeding.load_resources, config / "aws.json"), (seeding.load_functions, functions)):
        try:
            load(path)
        except seeding.SeedingError as error:
            yield Finding(str(error), "Correct the file.")


def folder(compose: Compose, setting: str, default: str) -> Path:
    """One of the user's folders: as its setting says, relative to the checkout, else the checkout's own."""
    return (compose.root / Path(compose.setting(setting) or default).expanduser()).resolve()


def version(text: str) -> tuple[int, ...]:
    """The numbers at the beginning of a version: ``v2.26.1-4`` is (2, 26, 1)."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", text.strip())
    return tuple(int(number) for number in found[1].split(".")) if found else ()


def engine_version(compose: Compose) -> str | None:
    """The Docker engine's version; None when there is none that answers."""
    try:
        return compose.run(
            "docker", "version", "--format", "{{.Server.Version}}", what="asking the engine"
        ).strip()
    except ComposeError:
        return None


def versions(compose: Compose) -> Iterator[Finding]:
    """An engine or a Compose that is missing or too old."""
    engine = engine_version(compose)
    if engine is None:
        yield Finding(
            "no Docker engine answers",
            "Install Docker Engine 25 or newer and start it; on Debian, as root: offline/engine.sh",
        )
        return
    if version(engine) < OLDEST_ENGINE:
        yield Finding(f"Docker Engine {engine} is too old", "Install Docker Engine 25 or newer.")
    try:
        plugin = compose.run("docker", "compose", "version", "--short", what="asking for Compose").strip()
    except ComposeError:
        yield Finding(
            "Docker Compose is missing", "Install its plugin for the docker command, 2.20.2 or newer."
        )
        return
    if version(plugin) < OLDEST_COMPOSE:
        yield Finding(f"Docker Compose {plugin} is too old", "Install 2.20.2 or newer.")


def other_checkout(compose: Compose) -> Iterator[Finding]:
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


def ports_in_use(compose: Compose) -> Iterator[Finding]:
    """Ports that somebody else listens on; our own running stack is no finding."""
    for name, default in PORT_SETTINGS.items():
        value = compose.setting(name) or default
        port = int(value) if value.isdigit() else 0
        if not port or not is_taken(port):
            continue
        holder = container_on(compose, port)
        if holder is None or holder[1] != compose.project:
            by = f"the container {holder[0]}" if holder else process_on(port) or "another program"
            yield Finding(
                f"port {port} is in use by {by}",
                f"Stop that, or take another port: {name}=0 means any free one.",
            )


def is_taken(port: int) -> bool:
    """Whether something on this machine listens on the port of the loopback interface."""
    with socket.socket() as probe:
        # Connections that linger after their end do not hinder Docker either.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def container_on(compose: Compose, port: int) -> tuple[str, str] | None:
    """Name and Compose project of the container that publishes the port."""
    columns = f'{{{{.Names}}}} {{{{.Label "{PROJECT_LABEL}"}}}}'
    command = ["docker", "ps", "--filter", f"publish={port}", "--format", columns]
    listed = compose.run(*command, what="asking the engine for containers")
    name, _, project = listed.partition("\n")[0].partition(" ")
    return (name, project) if name else None


def process_on(port: int) -> str:
    """Name and id of the process that listens on the port; empty where Linux does not tell this user."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    for process in Path("/proc").glob("[0-9]*") if sockets else ():
        try:
            if any(str(link.readlink()) in sockets for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:  # it has ended, or is another user's
            continue
    return ""


def _listening(port: int) -> Iterator[str]:
    # proc(5): the second field is the local ADDRESS:PORT in hexadecimal, the fourth the state, 0A for a
    # listening socket, the tenth the inode.
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def base_images(compose: Compose) -> list[str]:
    """The images that come from elsewhere: the services' and those that the Dockerfile starts from."""
    services = compose.configuration["services"].values()
    images = {service["image"] for service in services} - {
        service["image"] for service in services if "build" in service
    }
    dockerfile = (compose.root / "Dockerfile").read_text()
    stages = re.findall(r"^FROM\s+\S+\s+AS\s+(\S+)", dockerfile, re.MULTILINE)
    return sorted(images | set(re.findall(r"^FROM\s+(\S+)", dockerfile, re.MULTILINE)) - set(stages))


def missing_images(compose: Compose, images: Iterable[str]) -> list[str]:
    """Those of the images that the engine does not have."""
    return [image for image in images if not _present(compose, image)]


def _present(compose: Compose, image: str) -> bool:
    try:
        compose.run("docker", "image", "inspect", "--format", "{{.Id}}", image, what="looking for an image")
    except ComposeError:
        return False
    return True
