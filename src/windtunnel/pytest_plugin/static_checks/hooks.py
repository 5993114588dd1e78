"""``pytest --windtunnel-check``: the static checks, in place of the tests of the repository."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from windtunnel.pytest_plugin.session import SESSION
from windtunnel.stack.errors import StackError, Unmet
from windtunnel.stack.repository import TIME_BUDGET


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("windtunnel").addoption(
        "--windtunnel-check",
        action="store_true",
        help="in place of tests, with no stack: DAG files parse, functions import, requirements resolve",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Use no workers of pytest-xdist: the checks end before workers would have started."""
    if config.getoption("windtunnel_check"):
        config.option.dist, config.option.tx = "no", []


@pytest.hookimpl(tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> pytest.CollectReport | None:
    """Collect checks in place of folders and files."""
    if not (isinstance(collector, pytest.Session) and collector.config.getoption("windtunnel_check")):
        return None
    found = CheckCollector.from_parent(collector, name="windtunnel", nodeid="windtunnel")
    return pytest.CollectReport(collector.nodeid, "passed", None, [found])


class CheckCollector(pytest.Collector):
    """All checks of the repository."""

    def collect(self) -> "Iterator[CheckItem]":
        """Yield an item for each check.

        :raises CollectError: if the checks cannot be found, or a setting cannot be used.
        """
        # These are heavy, and pytest starts in other repositories, too.
        from windtunnel.local.stack import ProcessStack
        from windtunnel.pytest_plugin.static_checks import checks

        session = self.config.stash[SESSION]
        try:
            budget = session.repository.configuration.get(TIME_BUDGET, checks.TIME_BUDGET)
            # Whichever engine runs the stack, only the local one has venvs.
            stack = ProcessStack(session.make_stack("check").settings)
            found = checks.Checks(stack, self.config.rootpath, budget).find(self._say)
        except (StackError, Unmet) as error:
            raise self.CollectError(str(error)) from error
        for check in found:
            node = f"{check.subject}::{check.fact}"
            item = CheckItem.from_parent(self, name=check.fact, nodeid=node)
            item.require = check.require
            # For -k.
            item.extra_keyword_matches.add(check.subject)
            yield item

    def _say(self, line: str) -> None:
        if reporter := self.config.pluginmanager.get_plugin("terminalreporter"):
            reporter.write_line(line)


class CheckItem(pytest.Item):
    """One check."""

    require: Callable[[], None]

    def runtest(self) -> None:
        """Run the check."""
        from windtunnel.pytest_plugin.static_checks.checks import CheckSkipped

        try:
            self.require()
        except CheckSkipped as skipped:
            pytest.skip(str(skipped))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return what is wrong, without a traceback."""
        from windtunnel.pytest_plugin.static_checks.checks import CheckFailed

        if isinstance(excinfo.value, CheckFailed | StackError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, None, str]:
        """Return its name, which is shown above what is wrong."""
        return self.path, None, self.nodeid.replace("::", " ")
