"""The page of the pytest plugin names each option, fixture and public name; each fixture has an example."""

import ast
import re
from collections.abc import Iterator

import pytest

import windtunnel
from windtunnel.stack.settings import ROOT

PAGE = (ROOT / "docs" / "pytest-plugin.md").read_text()
FIXTURES = ROOT / "src" / "windtunnel" / "pytest_plugin" / "fixtures.py"


def fixtures() -> Iterator[ast.FunctionDef]:
    for node in ast.parse(FIXTURES.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def named(section: str) -> set[str]:
    """What a section of the page has as code in its text, without arguments."""
    section = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    text = re.sub(r"^```.*?^```$", "", section, flags=re.DOTALL | re.MULTILINE)
    return {re.split(r"[ (\\]", code)[0] for code in re.findall(r"`([^`]+)`", text)}


def test_every_option_is_on_the_page(pytestconfig: pytest.Config) -> None:
    there = {
        f"--{name.replace('_', '-')}" for name in vars(pytestconfig.option) if name.startswith("windtunnel_")
    }

    assert len(there) > 5
    assert {name for name in named("Options") if name.startswith("--")} == there


def test_every_fixture_is_on_the_page_and_has_an_example() -> None:
    for fixture in fixtures():
        assert fixture.name in named("Fixtures"), fixture.name
        _, example, below = (ast.get_docstring(fixture) or "").partition("::\n")
        assert example, fixture.name
        assert fixture.name in below, fixture.name


def test_every_public_name_is_on_the_page() -> None:
    assert set(windtunnel.__all__) <= named("Fixtures")
