"""A start that fails names the part; what is abandoned is removed, what runs is not."""

from pathlib import Path

import pytest

from tests.support import Stack, cleaned_up, new_project, remove_abandoned
from windtunnel import engines
from windtunnel.engine import Engine, ServiceFailed


@pytest.fixture
def engine_name(pytestconfig: pytest.Config) -> str:
    return engines.choose(pytestconfig.getoption("windtunnel_engine"), project="windtunnel-start").engine.name


@pytest.fixture
def other(tmp_path: Path, engine_name: str) -> Engine:
    """A stack that is not started yet."""
    return new_project("start", tmp_path, engine=engine_name)


def test_a_function_without_a_handler_is_named(other: Engine, tmp_path: Path) -> None:
    (tmp_path / "lambdas" / "empty_function").mkdir()

    with cleaned_up(other), pytest.raises(ServiceFailed) as failed:
        other.up()

    assert failed.value.service == "localstack"
    assert "lambdas/empty_function has no handler" in str(failed.value)


def test_a_stack_whose_tests_run_is_not_removed_as_abandoned(stack: Stack) -> None:
    before = {service.name: service.id for service in stack.engine.services()}

    remove_abandoned(stack.engine.name)

    assert {service.name: service.id for service in stack.engine.services()} == before
