import pytest
import typer

from windtunnel.compose.stack import ComposeStack
from windtunnel.dev import commands, suite
from windtunnel.local.stack import ProcessStack


def test_a_floor_of_the_other_engine_is_left_out_with_a_line(
    local: ProcessStack, compose: ComposeStack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.chosen_floors(local, None) == [name for name in suite.FLOORS if name != "compose"]
    assert "left out: the floor compose, which runs on the engine compose only" in capsys.readouterr().out

    assert commands.chosen_floors(compose, None) == list(suite.FLOORS)
    assert capsys.readouterr().out == ""


def test_a_floor_of_the_other_engine_is_refused_if_it_is_named(
    local: ProcessStack, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as refused:
        commands.chosen_floors(local, "compose")

    assert refused.value.exit_code == 2
    assert "./windtunnel test compose --engine compose" in capsys.readouterr().err
