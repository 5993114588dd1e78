"""docs/cli.md names every command, argument and option of ``./windtunnel``, and none that is not there."""

import re
from typing import Any

import pytest
import typer

from windtunnel.cli import commands
from windtunnel.dev import commands as dev_commands
from windtunnel.stack.settings import ROOT

# The commands for this project itself register at import.
assert dev_commands
COMMANDS: dict[str, Any] = vars(typer.main.get_command(commands.app))["commands"]

PAGE = (ROOT / "docs" / "cli.md").read_text()
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))


def documented(section: str) -> set[str]:
    """What is code in the first column of the section's table."""
    rows = re.findall(r"^\| (`.*?) \| ", section, re.MULTILINE)
    return {name.split()[0] for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_every_command_has_a_section_and_every_section_a_command() -> None:
    assert set(SECTIONS) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_argument_and_option_is_there(command: str) -> None:
    names = set()
    for parameter in COMMANDS[command].params:
        if parameter.param_type_name == "argument":
            names.add(parameter.name.upper())
        else:
            names.update(parameter.opts, parameter.secondary_opts)

    assert documented(SECTIONS[command]) == names
