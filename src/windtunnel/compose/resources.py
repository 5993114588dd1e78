"""What a Docker Engine lacks for the stack: access to files, memory, disk, images."""

import os
import shutil
import stat
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from windtunnel.compose import images
from windtunnel.stack.base import Stack
from windtunnel.stack.errors import Finding

GIB = 1024**3

# All services hold 1.4 GB after ten runs; a build and the tasks of a DAG come on top. In bytes.
LEAST_MEMORY = 4 * GIB

# Base images, our images, the build cache and a database that grows, in bytes.
LEAST_DISK = 5 * GIB

# User and group of the containers whose compose file does not name one, by the Dockerfile.
LOCALSTACK_USER = (1000, 1000)


def findings(stack: Stack) -> Iterator[Finding]:
    """Yield all of it."""
    yield from unreadable(stack.configuration)
    yield from _limits(stack)
    for image in images.missing(stack, images.base_images(stack)):
        if not images.registry_has(image):
            yield Finding(
                f"the image {image} is missing, and no registry has it for us",
                f"On Debian, as root: offline/images.sh {image}; elsewhere: docker save and docker load.",
            )


def _limits(stack: Stack) -> Iterator[Finding]:
    command = ("docker", "info", "--format", "{{.MemTotal}} {{.DockerRootDir}}")
    total, _, root = stack.run(*command, what="asking the Docker Engine").strip().partition(" ")
    memory, folder = int(total), Path(root)
    if memory < LEAST_MEMORY:
        yield Finding(
            f"Docker has {memory / GIB:.1f} GiB of memory; the stack wants {LEAST_MEMORY / GIB:.0f}",
            "Give it more (Docker Desktop: Settings, Resources), or set PARALLELISM to a smaller number.",
        )
    # If the Engine runs in a virtual machine, its folder is not on this machine.
    folder = folder if folder.exists() else stack.root
    free = shutil.disk_usage(folder).free
    if free < LEAST_DISK:
        yield Finding(
            f"{free / GIB:.1f} GiB are free at {folder}; the stack wants {LEAST_DISK / GIB:.0f}",
            "Make room: `docker system df` shows what Docker keeps, `docker builder prune` clears its cache.",
        )


def unreadable(configuration: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield mounted files and folders that the container's user may not read; none except on Linux.

    Folders above a mounted one do not matter: the engine mounts as root, and the container enters below them.
    On other systems the engine's virtual machine gives every user access.
    """
    if sys.platform != "linux":
        return
    seen: dict[Path, set[str]] = {}
    for name, service in configuration["services"].items():
        user, groups = _user(service)
        for volume in service.get("volumes", []):
            if volume["type"] == "bind" and user is not None:
                for path in _closed(Path(volume["source"]), user, groups):
                    seen.setdefault(path, set()).add(name)
    for path, services in seen.items():
        users = ", ".join(sorted(services))
        yield Finding(f"{path} is not readable by the user of {users}", f"chmod -R a+rX {path}")


def _user(service: Mapping[str, Any]) -> tuple[int | None, set[int]]:
    """Return the user of a service and its groups."""
    added = {int(group) for group in map(str, service.get("group_add", [])) if group.isdigit()}
    if "user" not in service:
        user, group = LOCALSTACK_USER
        return user, {group, *added}
    name, _, number = str(service["user"]).partition(":")
    # A name is known inside the image alone.
    return (int(name), {int(number or 0), *added}) if name.isdigit() else (None, added)


def _closed(path: Path, user: int, groups: Collection[int]) -> Iterator[Path]:
    try:
        info = path.stat()
    except FileNotFoundError:  # a dangling link; Compose itself names a missing mount
        return
    if info.st_uid == user:
        read, execute = stat.S_IRUSR, stat.S_IXUSR
    elif info.st_gid in groups:
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
                yield from _closed(child, user, groups)
