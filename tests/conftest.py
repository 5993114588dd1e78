"""What every floor shares: which tests are left out."""

from collections.abc import Collection

import pytest

# As a repository has it that installs the package.
pytest_plugins = ["windtunnel.pytest_plugin"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="with the tests marked as rare")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about the other engine alone and, without --all, what is rare."""
    if not any(item.get_closest_marker(name) for name in ("engine", "rare", "overlay") for item in items):
        return
    # Not at the top: unit tests that run beside Airflow or in LocalStack have not what it needs.
    from windtunnel.stack import choose

    chosen = config.getoption("windtunnel_engine") or choose.choose(project="windtunnel-tests").stack.engine
    overlays = config.getoption("windtunnel_with") or ()
    left_out = [
        item
        for item in items
        if is_left_out(item, chosen, rare=config.getoption("--all")) or lacks_overlay(item, overlays)
    ]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def is_left_out(item: pytest.Item, chosen: str, *, rare: bool) -> bool:
    """Whether a test is for another engine, or rare, which it may be on one engine alone."""
    engines = item.get_closest_marker("engine")
    if engines and chosen not in engines.args:
        return True
    return not rare and any(not mark.args or chosen in mark.args for mark in item.iter_markers("rare"))


def lacks_overlay(item: pytest.Item, overlays: Collection[str]) -> bool:
    """Whether a test is about overlays of which the stack under test has none."""
    wanted = item.get_closest_marker("overlay")
    return wanted is not None and not set(wanted.args) & set(overlays)
