"""The settings of a stack: variables, the checkout's ``.env``, folders, ports, overlays; read once."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from windtunnel.services import slots
from windtunnel.stack import env_file
from windtunnel.stack.errors import StackError

ROOT = Path(__file__).resolve().parents[3]

# The folder in the checkout for everything that is written on this machine.
STATE_FOLDER = ".windtunnel"

# The setting of each of the user's folders, with the folder of the checkout that it replaces.
FOLDERS = {
    "DAGS_FOLDER": "dags",
    "CUSTOM_FOLDER": "custom",
    "LAMBDAS_FOLDER": "lambdas",
    "CONFIG_FOLDER": "config",
    "PLUGINS_FOLDER": "plugins",
}
ENV_FILE_SETTING = "ENV_FILE"
# Airflow reads plugins as a process starts, so what this stands for starts its services again.
PLUGINS_VERSION = "PLUGINS_VERSION"
REQUIREMENTS_SETTING = "REQUIREMENTS_FILE"
ENGINE_SETTING = "WINDTUNNEL_ENGINE"
IMAGE_SETTING = "WINDTUNNEL_IMAGE"
# Docker's socket and its group, for the overlay docker.
SOCKET_SETTING = "DOCKER_SOCKET"
GROUP_SETTING = "DOCKER_GID"
# Settings without a table of their own; the others begin with WINDTUNNEL_.
OWN_SETTINGS = (
    REQUIREMENTS_SETTING,
    "COMPOSE_PROJECT_NAME",
    "COMPOSE_FILE",
    "CA_BUNDLE",
    "LAMBDA_STRICT_RUNTIME",
    SOCKET_SETTING,
    GROUP_SETTING,
    slots.SETTING,
)


@dataclass(frozen=True)
class Port:
    """A port that this machine may talk to."""

    number: int  # inside the service's container
    setting: str  # of the port on this machine
    overlay: str = ""  # without this overlay it is not published; empty if it always is


# By service; the compose file has the same.
PORTS = {
    "webserver": Port(8080, "WEBSERVER_PORT"),
    "localstack": Port(4566, "LOCALSTACK_PORT"),
    "postgres": Port(5432, "POSTGRES_PORT", overlay="postgres-port"),
}


@dataclass(frozen=True)
class Settings:
    """What a stack is made with. ``of`` explains the other fields.

    :param overlays: compose files that are laid over the stack's own.
    :param scale: the number of replicas, by service.
    """

    variables: Mapping[str, str]
    root: Path = ROOT
    state_folder: Path = ROOT / STATE_FOLDER
    overlays: Sequence[Path] = ()
    scale: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        project: str | None = None,
        variables: Mapping[str, str] | None = None,
        root: Path = ROOT,
        state_folder: Path | None = None,
        overlays: Sequence[Path] = (),
    ) -> "Settings":
        """Return the settings of this process with some on top.

        :param project: the project's name; Compose's own rule if None.
        :param variables: ports, folders, the image's name.
        :param root: the checkout, or what takes its place.
        :param state_folder: the folder for venvs and data; ``.windtunnel`` in the checkout if None.
        """
        own = {"COMPOSE_PROJECT_NAME": project} if project else {}
        everything = {**os.environ, **(variables or {}), **own}
        return cls(everything, root, state_folder or root / STATE_FOLDER, overlays)

    @property
    def env_file(self) -> Path:
        """The checkout's ``.env``, or what takes its place."""
        return self._path(self.variables.get(ENV_FILE_SETTING) or ".env")

    @cached_property
    def file(self) -> Mapping[str, str]:
        """What ``.env`` sets; Compose reads the same file.

        :raises StackError: if it cannot be read.
        """
        return env_file.read(self.env_file, self.variables)

    @property
    def given(self) -> list[str]:
        """The names that ``.env`` sets for Airflow's services: all but the settings of the stack."""
        own = {*FOLDERS, *(port.setting for port in PORTS.values()), *OWN_SETTINGS}
        return sorted(name for name in self.file if name not in own and not name.startswith("WINDTUNNEL_"))

    @cached_property
    def for_compose(self) -> Mapping[str, str]:
        """The variables with which compose files are filled in, ``.env``'s excepted."""
        return {**self.variables, PLUGINS_VERSION: self._plugins_version()}

    def _plugins_version(self) -> str:
        """Return a hash of the user's plugins; empty if there are none."""
        folder = self.folder("PLUGINS_FOLDER")
        digest = hashlib.sha256()
        files = (path for path in sorted(folder.rglob("*")) if path.name[0] != "." and path.is_file())
        found = [path for path in files if "__pycache__" not in path.parts]
        for path in found:
            digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
        return digest.hexdigest()[:12] if found else ""

    def get(self, name: str) -> str:
        """Return a setting as Compose sees it: the variable, else what ``.env`` says, else an empty text."""
        return self.variables.get(name, self.file.get(name, ""))

    @property
    def project(self) -> str:
        """The project's name, by Compose's own rule.

        :raises StackError: if that rule leaves nothing of the folder's name.
        """
        return project_name(self.get("COMPOSE_PROJECT_NAME") or self.root.name)

    @property
    def image(self) -> str:
        """What the names of this checkout's images begin with."""
        return self.get(IMAGE_SETTING) or self.project

    def folder(self, setting: str) -> Path:
        """Return one of the user's folders, by its setting; without one it is the checkout's own."""
        return self._path(self.get(setting) or FOLDERS[setting])

    def _path(self, name: str) -> Path:
        """Return a path, which may be relative to the checkout, as an absolute one."""
        return (self.root / Path(name).expanduser()).resolve()

    def requirements_file(self) -> Path:
        """Return the file of what the user's DAGs need beyond the lock.

        :raises StackError: if it cannot be read.
        """
        path = self._path(self.get(REQUIREMENTS_SETTING) or "requirements.txt")
        try:
            path.open("rb").close()
        except OSError as error:
            what = f"{REQUIREMENTS_SETTING} {path} cannot be read: {error.strerror}"
            next_step = "Correct the path; it is relative to the checkout."
            raise StackError(what, next_step=next_step) from error
        return path

    def compose_files(self) -> list[Path]:
        """Return the compose files in the order in which one is laid over the other."""
        if named := self.get("COMPOSE_FILE"):
            files = [self.root / name for name in named.split(os.pathsep)]
        else:
            standard = (self.root / "docker-compose.yml", self.root / "docker-compose.override.yml")
            files = [path for path in standard if path.exists()]
        asked = [self._overlay(port) for port in PORTS.values() if port.overlay and self.get(port.setting)]
        return list(dict.fromkeys([*files, *self.overlays, *asked]))

    def _overlay(self, port: Port) -> Path:
        return self.root / "overlays" / f"{port.overlay}.yml"

    def usual_port(self, service: str) -> str:
        """Return the port of a service on this machine if none is set; empty if it is not published then."""
        port = PORTS[service]
        published = not port.overlay or self._overlay(port) in self.compose_files()
        return str(port.number) if published else ""


def project_name(name: str) -> str:
    """Return what Compose makes of a folder's name.

    :raises StackError: if nothing is left of it.
    """
    project = re.sub(r"[^a-z0-9_-]", "", name.lower()).lstrip("_-")
    if not project:
        next_step = "Choose one: export COMPOSE_PROJECT_NAME=…"
        raise StackError(f"{name!r} makes no project name", next_step=next_step)
    return project
