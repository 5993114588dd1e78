"""What every floor shares: which engine the stack under test runs on."""

import pytest

# As a repository has it that installs the package.
pytest_plugins = ["windtunnel.pytest_plugin"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about the other engine alone."""
    marked = [item for item in items if item.get_closest_marker("engine")]
    if not marked:
        return
    # Not at the top: unit tests that run beside Airflow or in LocalStack have not what it needs.
    from windtunnel.stack import choose

    chosen = config.getoption("windtunnel_engine") or choose.choose(project="windtunnel-tests").stack.engine
    other = [item for item in marked if chosen not in next(item.iter_markers("engine")).args]
    config.hook.pytest_deselected(items=other)
    items[:] = [item for item in items if item not in other]
