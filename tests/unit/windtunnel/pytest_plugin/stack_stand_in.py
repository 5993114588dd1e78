"""The ``conftest.py`` of a user's repository, with a stand-in for its stack.

``asked.txt`` gets what the stack is asked, ``settings.json`` the settings that it was made with. Variables
say what goes wrong: ``BROKEN``, ``STUCK``, ``TYPO``.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from windtunnel.diagnosis import preflight
from windtunnel.pytest_plugin.session import Session
from windtunnel.stack.errors import StackError
from windtunnel.stack.settings import Settings
from windtunnel.testing.stack import RunningStack

ASKED = Path(__file__).with_name("asked.txt")
REQUIREMENTS = ASKED.with_name("requirements.txt")


class StackStandIn:
    engine = "local"

    def __init__(self, project: str) -> None:
        self.project = project
        self.settings = Settings.of(project, {"REQUIREMENTS_FILE": str(REQUIREMENTS)}, root=ASKED.parent)

    def has_parts(self) -> bool:
        return True

    def get_parts(self, *_: object) -> None:
        if "no-such" in REQUIREMENTS.read_text():
            raise StackError("no-such cannot be installed")

    def services(self) -> list[SimpleNamespace]:
        lines = ASKED.read_text().splitlines() if ASKED.exists() else []
        own = [line.split()[0] for line in lines if line.endswith(self.project)]
        up = [verb for verb in own if verb != "look"][-1:] == ["up"]
        typo = "TYPO" in os.environ
        return [SimpleNamespace(ready=up and not typo, state="running" if up else "exited", definite=typo)]

    def up(self) -> None:
        self.ask("up")
        if "BROKEN" in os.environ:
            raise StackError("scheduler ended with exit code 1", "No module named x", "./windtunnel logs")

    def down(self, volumes: bool = False) -> None:
        self.ask("down" if volumes else "stop")
        if "STUCK" in os.environ:
            raise StackError("the network has active endpoints")

    def ask(self, what: str) -> None:
        with ASKED.open("a") as asked:
            asked.write(f"{what} {self.project}\n")

    def write_logs(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "scheduler.log").write_text("the scheduler's")


def make_stack(session: Session, project: str, *, starting: bool = False) -> StackStandIn:
    ASKED.with_name("settings.json").write_text(json.dumps(session.settings()))
    return StackStandIn(project)


def failures(run: Any) -> Sequence[str]:
    return ["count, try 1, failed:", *["  step"] * 9, "  ValueError: bad", "other"]


def import_error_lines() -> Sequence[str]:
    return ["a.py: SyntaxError: bad"] if "TYPO" in os.environ else []


replaced: Any = Session
replaced.make_stack = make_stack
replaced = RunningStack
replaced.wait_for_saved_files = lambda running: running.stack.ask("look at")
replaced.airflow = SimpleNamespace(
    failures=failures,
    import_error_lines=import_error_lines,
    run=lambda *_: SimpleNamespace(state="failed"),
)
replaced = preflight
replaced.check = lambda *_: None
