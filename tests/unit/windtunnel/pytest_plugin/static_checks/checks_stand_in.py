"""The ``conftest.py`` of a user's repository, with stand-ins for its static checks.

``found.txt`` gets the time budget of each time that they were looked for, ``heavy.txt`` the heavy
modules that were imported. The variable ``BROKEN`` says that they cannot be found.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HEAVY = ("boto3", "dotenv", "yaml", "windtunnel.pytest_plugin.static_checks.checks", "windtunnel.stack.base")


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("windtunnel_check"):
        return
    from windtunnel.pytest_plugin.static_checks import checks
    from windtunnel.stack.errors import StackError

    def find(self: Any, say: Callable[[str], None]) -> list[checks.Check]:
        with Path("found.txt").open("a") as found:
            found.write(f"{self._time_budget}\n")
        say("installing airflow")
        if "BROKEN" in os.environ:
            raise StackError("the requirements cannot be read")
        return [
            checks.Check("requirements.txt", "resolves", fail(checks.CheckFailed("they do not"))),
            checks.Check("lambdas/count", "imports", lambda: None),
            checks.Check("dags/a.py", "parses", fail(StackError("no Airflow"))),
            checks.Check("dags/b.py", "parses", fail(checks.CheckSkipped("it takes a stack"))),
        ]

    def fail(error: BaseException) -> Callable[[], None]:
        def require() -> None:
            raise error

        return require

    replaced: Any = checks.Checks
    replaced.find = find


def pytest_sessionfinish() -> None:
    Path("heavy.txt").write_text(" ".join(name for name in HEAVY if name in sys.modules))
