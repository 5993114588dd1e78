"""The plugin's options, the end of its sessions, and the bundle of a failed test."""

import gc
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from windtunnel.pytest_plugin.session import SESSION, Session
from windtunnel.stack.errors import StackError
from windtunnel.stack.repository import ENGINES, PATHS, absolute_overlay


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for the stack."""
    group = parser.getgroup("windtunnel", "Airflow on AWS on this machine")
    group.addoption(
        "--windtunnel-engine",
        choices=ENGINES,
        help="what runs the stack; compose if a Docker Engine answers, else local",
    )
    # Paths count from where pytest is started; the workers of pytest-xdist get absolute ones.
    for name in PATHS:
        what = f"in place of {name} of [tool.windtunnel]"
        group.addoption(f"--windtunnel-{name}", metavar="PATH", type=os.path.abspath, help=what)
    group.addoption(
        "--windtunnel-with",
        metavar="NAME",
        type=lambda name: absolute_overlay(name, Path.cwd()),
        action="append",
        help="an overlay, or a compose file of your own, in place of with of [tool.windtunnel]; repeatable",
    )
    group.addoption(
        "--windtunnel-reuse",
        action="store_true",
        help="take the stack that an earlier session has left, or start one, and leave it running",
    )
    group.addoption(
        "--windtunnel-stop", action="store_true", help="stop what --windtunnel-reuse has left; run no test"
    )


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Stop the stack that is left, if that is asked for."""
    if not config.getoption("windtunnel_stop"):
        return None
    try:
        Session(config).stop_kept()
    except StackError as error:
        raise pytest.UsageError(str(error)) from error
    return 0


def pytest_configure(config: pytest.Config) -> None:
    """Know the session's project, in the workers of pytest-xdist, too."""
    config.stash[SESSION] = Session(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker of pytest-xdist the session's project and name."""
    session = node.config.stash[SESSION]
    node.workerinput["windtunnel_project"] = session.project
    node.workerinput["windtunnel_session"] = session.id


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Remember that nobody has undone what the test of a crashed worker of pytest-xdist had set."""
    if error:
        node.config.stash[SESSION].mark_unclean()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Take the stack down after all workers have ended; if that fails, the session fails."""
    own = session.config.stash[SESSION]
    try:
        own.finish()
    except Exception as error:
        own.problem = f"the stack of {own.project} is not removed: {error}"
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say why the stack is still there, if it should be gone."""
    if problem := config.stash[SESSION].problem:
        terminalreporter.section("windtunnel", red=True)
        terminalreporter.line(problem)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let the process end without a last look at all that was imported: it takes 0.5 s of each session."""
    own = config.stash.get(SESSION, None)
    if own and own.running:
        gc.freeze()


# How many runs there were before a test.
RUNS = pytest.StashKey[int]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember how many runs are not this test's."""
    running = item.config.stash[SESSION].running
    item.stash[RUNS] = len(running.runs) if running else 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Write a bundle that says why a test that used the stack has failed, and show its first lines."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    session = item.config.stash[SESSION]
    running = session.running
    if report.failed and running and "windtunnel" in getattr(item, "fixturenames", ()):
        # Pytest starts in other repositories, too, so what is heavy is imported here.
        from windtunnel.diagnosis import evidence

        folder = session.evidence / _folder_name(item.nodeid)
        try:
            lines = evidence.write(running, folder, running.runs[item.stash.get(RUNS, 0) :])
            lines.append(f"all of it: {folder}")
        except OSError as error:
            lines = [f"{folder} cannot be written: {error}"]
        report.sections.append(("windtunnel", "\n".join(lines)))
    return report  # type: ignore[return-value]


def _folder_name(nodeid: str) -> str:
    """Return a test's name as a folder's; the hash tells long or similar ids apart."""
    name = re.sub(r"[^\w.-]+", "_", nodeid.rpartition("/")[2])
    return f"{name[:100]}-{hashlib.sha256(nodeid.encode()).hexdigest()[:8]}"
