"""Containers as the emulator orders them, and whether processes are alive."""

import sys
from pathlib import Path
from typing import Any


def container(*command: str, name: str = "main", **more: Any) -> dict[str, Any]:
    """A container that runs a command; its output goes to the stream of its name."""
    logs = {"group": "it", "stream": name, "region": "here", "create_group": False, "multiline_pattern": None}
    return {
        "name": name,
        "image": "it",
        "entry_point": [],
        "command": list(command) or ["true"],
        "environment": {},
        "working_directory": None,
        "cpu": None,
        "memory": None,
        "essential": True,
        "depends_on": {},
        "start_timeout": None,
        "stop_timeout": 30,
        "health_check": None,
        "logs": logs,
        **more,
    }


def shell(script: str, **more: Any) -> dict[str, Any]:
    """A container that runs lines of shell."""
    return container("sh", "-c", script, **more)


def python(script: str, **more: Any) -> dict[str, Any]:
    """A container that runs lines of Python."""
    return container(sys.executable, "-c", script, **more)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
