import json
from pathlib import Path

import pytest

from windtunnel.seeding import functions
from windtunnel.seeding.validation import SeedingError

from .conftest import HANDLER

# Reading functions


def test_a_folder_is_enough_for_a_function(folder: Path) -> None:
    function = functions.load_function(folder)

    assert function.name == "my-function"
    assert function.settings["Handler"] == "lambda_function.lambda_handler"


def test_its_settings_win(folder: Path) -> None:
    (folder / "function.json").write_text(json.dumps({"FunctionName": "other", "Timeout": 3}))

    assert functions.load_function(folder).settings["Timeout"] == 3
    assert functions.load_function(folder).name == "other"


@pytest.mark.parametrize(
    "source",
    [
        "def main(event, context): ...",
        "main = print",
        "from x import main",
        "from x import y as main",
        "class main: ...",
        "main: object = print",
        "if True:\n    main = print",
        "try:\n    from fast import main\nexcept ImportError:\n    from slow import main",
        "other, (main, *rest) = x",
        "with open('x') as main: ...",
        "(main := print)",
        "from impl import *",
        "globals()['main'] = print",
        "def __getattr__(name): ...",
    ],
)
def test_a_handler_may_be_anything_that_is_called_so(folder: Path, source: str) -> None:
    (folder / "function.json").write_text('{"Handler": "lambda_function.main"}')
    (folder / "lambda_function.py").write_text(source)

    assert functions.load_function(folder)


@pytest.mark.bad_input(61, 62, 64)
@pytest.mark.parametrize(
    ("settings", "source", "problem"),
    [
        ("{", HANDLER, "my_function/function.json is not JSON"),
        ("[]", HANDLER, "must hold a JSON object, not a list"),
        ('{"Timeout": "long"}', HANDLER, "Timeout"),
        ('{"Timeoutt": 3}', HANDLER, "Timeoutt"),
        (
            '{"Runtime": "nodejs22.x"}',
            HANDLER,
            r"function\.json: Runtime is 'nodejs22\.x', and functions run on",
        ),
        ('{"Runtime": "python3"}', HANDLER, "Runtime is 'python3'"),
        ('{"Layers": ["a", "b", "c", "d", "e", "f"]}', HANDLER, "Layers has 6 layers, and Lambda takes 5"),
        ('{"Handler": "app.go"}', HANDLER, r"has no handler: app\.py is missing"),
        ('{"Handler": "src.app.go"}', HANDLER, r"has no handler: src/app\.py is missing"),
        ("{}", "x = 1", "does not define lambda_handler"),
        ("{}", "print(lambda_handler)", "does not define lambda_handler"),
        ("{}", "def f(:", r"lambdas/my_function/lambda_function\.py, line 1"),
    ],
)
def test_what_is_wrong_with_a_function_is_named(
    folder: Path, settings: str, source: str, problem: str
) -> None:
    (folder / "function.json").write_text(settings)
    (folder / "lambda_function.py").write_text(source)

    with pytest.raises(SeedingError, match=problem):
        functions.load_function(folder)


def test_folders_that_are_no_functions(root: Path) -> None:
    for name in ("airflow_relay", "layers", "__pycache__", ".hidden"):
        (root / "lambdas" / name).mkdir()
    (root / "lambdas/README.md").touch()

    found, wrong = functions.read_functions(root / "lambdas")

    assert ([function.folder.name for function in found], wrong) == (["my_function"], {})


@pytest.mark.parametrize(
    ("target", "reason"),
    [("/", "is outside of lambdas/"), ("nothing", "is not there"), ("loop", "is not there")],
)
def test_a_folder_that_is_a_link_out_of_lambdas_is_named(root: Path, target: str, reason: str) -> None:
    (root / "lambdas/loop").symlink_to(target)

    found, wrong = functions.read_functions(root / "lambdas")

    assert [function.folder.name for function in found] == ["my_function"]
    assert reason in wrong["loop"]


def test_functions_of_overlays_come_first_and_keep_their_names(root: Path) -> None:
    overlay = root / "overlay"
    for name in ("my_function", "of_overlay"):
        (overlay / name).mkdir(parents=True)
        (overlay / name / "lambda_function.py").write_text(HANDLER)

    found, wrong = functions.read_functions(overlay, root / "lambdas")

    assert [function.folder for function in found] == [overlay / "my_function", overlay / "of_overlay"]
    # Not by the name of the folder, as what is deployed is no longer wrong.
    assert list(wrong) == ["lambdas/my_function"]
    assert "is named like the folder of a function that an overlay brings" in wrong["lambdas/my_function"]


@pytest.mark.bad_input(63)
def test_two_folders_cannot_be_one_function(root: Path) -> None:
    other = root / "lambdas/other"
    other.mkdir()
    (other / "lambda_function.py").write_text(HANDLER)
    (other / "function.json").write_text('{"FunctionName": "my-function"}')

    with pytest.raises(SeedingError, match=r"lambdas/other: .* is the function my-function too: give one"):
        functions.load_functions(root / "lambdas")


@pytest.mark.parametrize(
    ("handler", "file"),
    [
        ("src.app.main", "src/app.py"),
        ("src/app.main", "src/app.py"),
        ("src.app.main", "src/app/__init__.py"),
        ("app.main", "app/__init__.py"),
    ],
)
def test_a_handler_may_be_in_a_package(folder: Path, handler: str, file: str) -> None:
    (folder / "function.json").write_text(json.dumps({"Handler": handler}))
    (folder / file).parent.mkdir(parents=True)
    (folder / file).write_text("def main(event, context): ...")

    assert functions.load_function(folder).settings["Handler"] == handler


@pytest.mark.parametrize(
    "source",
    [
        b"\xef\xbb\xbf" + HANDLER.encode(),
        b"# -*- coding: latin-1 -*-\nname = '\xe4'\n" + HANDLER.encode(),
    ],
)
def test_a_source_is_read_as_python_reads_it(folder: Path, source: bytes) -> None:
    (folder / "lambda_function.py").write_bytes(source)
    (folder / "function.json").write_bytes(b'\xef\xbb\xbf{"Timeout": 3}')

    assert functions.load_function(folder).settings["Timeout"] == 3


def test_a_source_that_is_not_utf_8_is_named(folder: Path) -> None:
    (folder / "lambda_function.py").write_bytes(b"\xff\xfe")

    with pytest.raises(SeedingError, match=r"my_function/lambda_function\.py"):
        functions.load_function(folder)
