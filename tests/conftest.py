"""What every floor shares: which tests are left out."""

import pytest

# As a repository has it that installs the package.
pytest_plugins = ["windtunnel.pytest_plugin"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="with the tests marked as rare")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about the other engine alone and, without --all, what is rare."""
    if not config.getoption("--all"):
        leave_out(config, items, [item for item in items if item.get_closest_marker("rare")])
    marked = [item for item in items if item.get_closest_marker("engine")]
    if not marked:
        return
    # Not at the top: unit tests that run beside Airflow or in LocalStack have not what it needs.
    from windtunnel.stack import choose

    chosen = config.getoption("windtunnel_engine") or choose.choose(project="windtunnel-tests").stack.engine
    other = [item for item in marked if chosen not in next(item.iter_markers("engine")).args]
    leave_out(config, items, other)


def leave_out(config: pytest.Config, items: list[pytest.Item], these: list[pytest.Item]) -> None:
    """Deselect some of the collected tests."""
    config.hook.pytest_deselected(items=these)
    items[:] = [item for item in items if item not in these]
