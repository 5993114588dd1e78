"""What the process of each service is: command, variables, folder.

It comes from the compose file, with addresses and paths translated, and what an image's ENV sets added.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from windtunnel.local import composefile, processes
from windtunnel.local.fork_client import SOCKET_VARIABLE
from windtunnel.local.layout import Layout
from windtunnel.local.venvs import Venvs, uv_program
from windtunnel.seeding.installing import PREFIX
from windtunnel.stack.errors import StackError
from windtunnel.stack.settings import PORTS, Settings

# The process that Airflow's services are forked from, beside the compose file's services.
FORK_SERVER = "fork-server"

SERVICES_BY_PORT = {str(port.number): service for service, port in PORTS.items()}

# An address of one of these services; another host's is the user's business.
ADDRESS = re.compile(
    rf"(?<![\w.-])(?:{'|'.join(PORTS)}|localhost|0\.0\.0\.0):({'|'.join(SERVICES_BY_PORT)})\b"
)

# In the user's own variables localhost is this machine.
SERVICE_ADDRESS = re.compile(rf"(?<![\w.-])(?:{'|'.join(PORTS)}):({'|'.join(SERVICES_BY_PORT)})\b")

# The beginning of a path inside the containers.
CONTAINER_PATH = re.compile(r"(?<![\w./])/(?=(?:opt|run|var|etc)/)")

# A definition as `local.processes` starts it.
Definition = dict[str, Any]


@dataclass(frozen=True)
class Definitions:
    """Makes the definitions of one stack, by its compose file and the ports of services on this machine."""

    settings: Settings
    layout: Layout
    venvs: Venvs
    configuration: Mapping[str, Any]
    ports: Mapping[str, int]

    def of(self, name: str, label: str) -> Definition:
        """Return the definition of a service's process.

        :param label: the name of the service, or of one of its replicas.
        :raises StackError: if the service runs an image that this engine does not know.
        """
        service = self.configuration["services"][name]
        image = "postgres" if name == "postgres" else str(service.get("image", "")).rpartition("-")[2]
        images = {"postgres": self._postgres, "airflow": self._airflow, "localstack": self._localstack}
        if image not in images:
            next_step = "The local engine has no images: use --engine compose, or leave that file out."
            what = f"the service {name} runs the image {service.get('image')}"
            raise StackError(what, next_step=next_step)
        program, *first = composefile.words(service.get("entrypoint", ["/entrypoint.sh"]))
        mounted = any(volume["target"] == program for volume in service.get("volumes", []))
        start = [str(self.layout.place(program))] if mounted else ["/usr/bin/env", program]
        listening = self._listening() if image == "postgres" else []
        command = [*start, *first, *composefile.words(service.get("command", [])), *listening]
        folder = str(processes.temporary_folder(self.layout.run, label))
        common = {"HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8"}
        environment = {**common, **self._given(service), **images[image]()}
        return {"command": command, "environment": environment, "folder": folder}

    def all(self, labels: Mapping[str, str]) -> dict[str, Definition]:
        """Return the definition of the fork server and of each process, by its label.

        :param labels: the service of each process, by label.
        """
        found = {label: self.of(name, label) for label, name in labels.items()}
        folder = str(processes.temporary_folder(self.layout.run, FORK_SERVER))
        # From the plainest of them: another file may give one of the others a setting of its own.
        plain = found["init"]
        environment = {**plain["environment"], "HOME": folder, "TMPDIR": folder}
        command = [plain["command"][0], FORK_SERVER]
        found[FORK_SERVER] = {"command": command, "environment": environment, "folder": folder}
        return found

    def _given(self, service: Mapping[str, Any]) -> dict[str, str]:
        """Return the variables of ``.env`` and, over them, of the compose file.

        A name without a value has the one of the settings. Without that it is not there, as with Compose.
        """
        own = composefile.file_variables(service, self.settings)
        found = {name: self._addressed(value, SERVICE_ADDRESS) for name, value in own.items()}
        for key, value in (service.get("environment") or {}).items():
            given = self.settings.get(key) if value is None else value
            if value is None and not given:
                found.pop(key, None)
                continue
            text = str(given).lower() if isinstance(given, bool) else str(given)
            # A proxy or a package index is this machine's, whatever port it has.
            found[key] = text if key.startswith(PREFIX) else self._translated(text)
        return found

    def _translated(self, value: str) -> str:
        """Return a value of the compose file with the addresses and paths of this machine."""
        return CONTAINER_PATH.sub(f"{self.layout.run}/root/", self._addressed(value, ADDRESS))

    def _addressed(self, value: str, address: "re.Pattern[str]") -> str:
        return address.sub(lambda found: f"127.0.0.1:{self.ports[SERVICES_BY_PORT[found[1]]]}", value)

    # What an image's ENV sets for a container

    def _airflow(self) -> dict[str, str]:
        home = self.layout.place("/opt/airflow")
        return {
            "PATH": _path(self.venvs.python("airflow").parent),
            # So that nothing is written into users' folders.
            "PYTHONDONTWRITEBYTECODE": "1",
            # So that a traceback shows the real path of a file.
            "AIRFLOW__CORE__DAGS_FOLDER": str((home / "dags").resolve()),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str((home / "plugins").resolve()),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.ports["webserver"]),
            SOCKET_VARIABLE: str(self.layout.fork_server_socket),
        }

    def _localstack(self) -> dict[str, str]:
        return {
            "PATH": _path(self.venvs.python("localstack").parent),
            "PYTHONPATH": str(self.layout.place("/opt/windtunnel")),
            **installing(self.settings, self.venvs),
            "FILESYSTEM_ROOT": str(self.layout.run / "root"),
            # LocalStack must not look whether it is in a container: its folders are not the container's.
            "OVERRIDE_IN_DOCKER": "0",
        }

    def _postgres(self) -> dict[str, str]:
        return {
            "PATH": _path(self.venvs.postgres, self.settings.root / "offline" / "postgres"),
            "PGDATA": str(self.layout.database),
            # For the health check.
            "POSTGRES_ADDRESS": f"127.0.0.1:{self.ports['postgres']}",
        }

    def _listening(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.ports["postgres"],
            "unix_socket_directories": "",
            # Below its data, so that nothing is left behind; its default is /dev/shm.
            "dynamic_shared_memory_type": "mmap",
        }
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def installing(settings: Settings, venvs: Venvs) -> dict[str, str]:
    """Return what requirements of functions are installed with: as venvs are, and kept beside these."""
    own = ("HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "UV_CACHE_DIR", "XDG_CACHE_HOME", "UV_FIND_LINKS")
    return {
        "LAMBDA_RUNTIME_PYTHON": str(venvs.python("lambda")),
        "PACKAGES_FOLDER": str(settings.state_folder / "packages"),
        "UV": str(uv_program()),
        **{f"{PREFIX}{name}": settings.get(name) for name in own},
    }


def _path(*folders: Path) -> str:
    return os.pathsep.join([*map(str, folders), "/usr/local/bin", "/usr/bin", "/bin"])
