"""``pytest --windtunnel-check``: the static checks, in place of the tests of the repository."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from windtunnel.pytest_plugin.session import SESSION
from windtunnel.stack.errors import StackError, Unmet
from windtunnel.stack.repository import TIME_BUDGET

# Everything else is imported once the option is given: pytest starts in other repositories, too.
if TYPE_CHECKING:
    from windtunnel.pytest_plugin.static_checks.checks import Checks


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("windtunnel").addoption(
        "--windtunnel-check",
        action="store_true",
        help="in place of tests, with no stack: DAG files parse, functions import, requirements resolve",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Do without the workers of pytest-xdist: it is over before they would have started."""
    if config.getoption("windtunnel_check"):
        config.option.dist, config.option.tx = "no", []


@pytest.hookimpl(tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> pytest.CollectReport | None:
    """Let the session have checks in place of folders and files."""
    if not (isinstance(collector, pytest.Session) and collector.config.getoption("windtunnel_check")):
        return None
    found = CheckCollector.from_parent(collector, name="windtunnel", nodeid="windtunnel")
    return pytest.CollectReport(collector.nodeid, "passed", None, [found])


def _checks(config: pytest.Config) -> "Checks":
    from windtunnel.local.stack import ProcessStack
    from windtunnel.pytest_plugin.static_checks import checks

    session = config.stash[SESSION]
    budget = session.repository.configuration.get(TIME_BUDGET, checks.TIME_BUDGET)
    stack = session.make_stack("check")
    # Whichever engine runs the stack: venvs are this one's.
    local = ProcessStack(stack.settings)
    return checks.Checks(local, config.rootpath, budget)


class CheckCollector(pytest.Collector):
    """All checks of the repository."""

    def collect(self) -> "Iterator[CheckItem]":
        """One item for each check.

        :raises CollectError: when they cannot be found, or a setting cannot be used.
        """
        try:
            found = _checks(self.config).find(self._say)
        except (StackError, Unmet) as error:
            raise self.CollectError(str(error)) from error
        for check in found:
            node = f"{check.subject}::{check.fact}"
            item = CheckItem.from_parent(self, name=check.fact, nodeid=node, require=check.require)
            # For -k.
            item.extra_keyword_matches.add(check.subject)
            yield item

    def _say(self, line: str) -> None:
        if reporter := self.config.pluginmanager.get_plugin("terminalreporter"):
            reporter.write_line(line)


class CheckItem(pytest.Item):
    """One check."""

    def __init__(self, *, require: Callable[[], None], **options: Any) -> None:
        """Check nothing yet.

        :param require: that of the check.
        """
        super().__init__(**options)
        self._require = require

    def runtest(self) -> None:
        """Check it."""
        from windtunnel.pytest_plugin.static_checks.checks import CheckImpossible

        try:
            self._require()
        except CheckImpossible as error:
            pytest.skip(str(error))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What is wrong, without the way that led there."""
        from windtunnel.pytest_plugin.static_checks.checks import CheckFailed

        if isinstance(excinfo.value, CheckFailed | StackError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, None, str]:
        """Its name, above what is wrong."""
        return self.path, None, self.nodeid.replace("::", " ")
