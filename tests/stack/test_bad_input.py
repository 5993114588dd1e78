"""Each line of the page on bad input has a test, and each such test a line."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from windtunnel.stack.settings import ROOT


def rows_of_the_page() -> list[int]:
    page = (ROOT / "docs" / "bad-input.md").read_text()
    return [int(number) for number in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)]


def marked_rows(path: Path) -> Iterator[int]:
    """Rows in the markers of a file's tests; on one case of a parametrized test they count too."""
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
            for decorator in function.decorator_list:
                for call in ast.walk(decorator):
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.bad_input":
                        yield from map(ast.literal_eval, call.args)


def test_lines_are_numbered_without_a_gap() -> None:
    numbers = rows_of_the_page()

    assert numbers
    assert numbers == list(range(1, len(numbers) + 1))


def test_lines_and_tests_belong_together() -> None:
    tested = {row for path in (ROOT / "tests" / "unit").rglob("test_*.py") for row in marked_rows(path)}

    assert set(rows_of_the_page()) == tested
