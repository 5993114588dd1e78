"""The limits of this house's own code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from windtunnel.stack.choose import ENGINES
from windtunnel.stack.settings import ROOT

SOURCES = sorted(
    path for folder in ("src", "custom", "lambdas", "emulator") for path in (ROOT / folder).rglob("*.py")
)
CLASS_LINES = 300
# Without the docstring.
FUNCTION_LINES = 60
MODULES_AT_THE_TOP = 6

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text()))


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _docstring_lines(node: Function) -> int:
    return _lines(node.body[0]) if ast.get_docstring(node) else 0


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_classes_and_functions_are_short(path: Path) -> None:
    long = [
        f"{node.name}: {lines} lines"
        for node in _nodes(path)
        if (isinstance(node, ast.ClassDef) and (lines := _lines(node)) > CLASS_LINES)
        or (isinstance(node, Function) and (lines := _lines(node) - _docstring_lines(node)) > FUNCTION_LINES)
    ]

    assert long == []


def test_the_linters_limit_of_complexity_has_no_exceptions() -> None:
    assert not [path for path in SOURCES if "C901" in path.read_text()]


def test_nobody_but_the_engines_asks_which_engine_runs_a_stack() -> None:
    """What differs between engines is a method of the stack."""
    classes = {kind.__name__ for kind in ENGINES.values()}
    asked = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in _nodes(path)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("isinstance", "issubclass", "type")
        and classes & {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    ]

    assert len(classes) == 2
    assert asked == []


def test_only_the_plugins_own_modules_need_pytest() -> None:
    """The command line runs without it: `./windtunnel test` alone installs it."""
    package = ROOT / "src" / "windtunnel"
    pattern = re.compile(r"^\s*(import|from) _?pytest\b", re.MULTILINE)
    found = {
        str(path.relative_to(package)) for path in package.rglob("*.py") if pattern.search(path.read_text())
    }

    plugin = {"hooks.py", "fixtures.py", "session.py", "static_checks/hooks.py"}
    assert found == {f"pytest_plugin/{name}" for name in plugin}


def test_the_package_has_few_modules_at_its_top() -> None:
    assert len(list((ROOT / "src" / "windtunnel").glob("*.py"))) <= MODULES_AT_THE_TOP


@pytest.mark.parametrize(
    "package",
    [
        path
        for folder in ("src/windtunnel", "emulator/src/windtunnel_emulator")
        for path in sorted((ROOT / folder).glob("*/**/__init__.py"))
    ],
    ids=lambda path: str(path.parent.relative_to(ROOT)),
)
def test_a_package_says_where_its_code_runs(package: Path) -> None:
    said = ast.get_docstring(ast.parse(package.read_text())) or ""

    assert any(word in said for word in ("Runs ", "runs ", "Code that runs")), package
