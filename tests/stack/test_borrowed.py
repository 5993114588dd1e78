"""``docs/borrowed.md`` against the sources: each row is true, and no private name is without a row."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from windtunnel.stack.settings import ROOT

SOURCES = ("src", "custom", "config", "emulator/src", "lambdas")
OWN = {"windtunnel", "windtunnel_emulator", "custom", "airflow_relay"}
# Public in spite of the underscore: https://docs.python.org/3/library/collections.html#collections.namedtuple
NAMED_TUPLE = {"_asdict", "_field_defaults", "_fields", "_make", "_replace"}

ROW = re.compile(r"^\| `(?P<name>[^`]+)` \| `(?P<file>[^`]+)` \|.*\| `(?P<test>[^`]+)` \|$", re.MULTILINE)

ROWS = [found.groupdict() for found in ROW.finditer((ROOT / "docs" / "borrowed.md").read_text())]


def test_every_line_of_the_table_is_a_row() -> None:
    lines = (ROOT / "docs" / "borrowed.md").read_text().splitlines()

    assert len(ROWS) == sum(line.startswith("| `") for line in lines) > 30


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['name']} in {Path(row['file']).name}")
def test_a_row_names_what_is_there_and_a_test_that_notices(row: dict[str, str]) -> None:
    assert row["name"] in (ROOT / row["file"]).read_text()
    file, _, test = row["test"].partition("::")
    assert re.search(rf"^ *def {test}\(", (ROOT / file).read_text(), re.MULTILINE), row["test"]


def test_no_private_name_is_borrowed_without_a_row() -> None:
    listed = {(row["file"], row["name"]) for row in ROWS}
    found = {(file, name) for file, name in _private_names()}

    assert found
    assert found <= listed, "docs/borrowed.md has no row for these"


def _private_names() -> Iterator[tuple[str, str]]:
    """Private names that are imported from elsewhere, and private attributes of what is not our own."""
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            file, tree = str(path.relative_to(ROOT)), ast.parse(path.read_text())
            for name in _imported(tree):
                yield file, name
            for name in _used(tree):
                yield file, name


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not _is_ours(node.module):
            yield from (alias.name for alias in node.names if alias.name.startswith("_"))


def _is_ours(module: str) -> bool:
    root = module.partition(".")[0]
    return root in OWN or root in sys.stdlib_module_names


def _used(tree: ast.Module) -> Iterator[str]:
    """Private attributes that no class of the file has, and that are not the standard library's."""
    defined = {
        node.attr if isinstance(node, ast.Attribute) else node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr)):
            continue
        if node.attr in NAMED_TUPLE:
            continue
        base = node.value
        is_super = isinstance(base, ast.Call) and ast.unparse(base.func) == "super"
        is_standard = isinstance(base, ast.Name) and base.id in ("os", "sys")
        if is_super or not (is_standard or node.attr in defined):
            yield node.attr
