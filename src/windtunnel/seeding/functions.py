"""Lambda functions, a folder of ``lambdas/`` each: reading and checking them."""

import ast
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from windtunnel.seeding.validation import SeedingError, read_json, validate

LIBRARY = "airflow_relay"

# The folder with the layers, beside those of the functions.
LAYERS = "layers"

# Of one function. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_LAYERS = 5

# A function's settings, unless its `function.json` has others. The handler is named as in the AWS console;
# the role only has to look like one.
DEFAULTS: dict[str, Any] = {
    "Handler": "lambda_function.lambda_handler",
    # Functions run on the same version of Python as LocalStack.
    "Runtime": "python{}.{}".format(*sys.version_info),
    "Timeout": 60,
    "Role": "arn:aws:iam::000000000000:role/lambda",
}


@dataclass(frozen=True)
class Function:
    """One folder of ``lambdas/``: its path and Lambda's ``CreateFunction`` arguments, without the code."""

    folder: Path
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """The function's name on Lambda."""
        return str(self.settings["FunctionName"])


# A module that uses one of these may define names that are not written in it.
_DYNAMIC = frozenset(("__getattr__", "exec", "globals", "locals", "setattr", "vars"))


def _may_define(source: bytes, path: Path, name: str) -> bool:
    """Return whether a module may bind a name: only where it certainly does not, Lambda need not be asked.

    :raises SyntaxError: as Python does; it reads the encoding, too.
    """
    for node in ast.walk(ast.parse(source, filename=str(path))):
        match node:
            case ast.FunctionDef(name=bound) | ast.AsyncFunctionDef(name=bound) | ast.ClassDef(name=bound):
                names = {bound}
            case ast.Name(id=bound):
                names = {bound} if isinstance(node.ctx, ast.Store) or bound in _DYNAMIC else set()
            case ast.alias(name=imported, asname=bound):
                names = {bound or imported}
            case _:
                continue
        if names & {name, "*", *_DYNAMIC}:
            return True
    return False


def _source(folder: Path, module: str) -> Path | None:
    """Return the file of a handler's module, with dots or slashes between packages; None if none is there."""
    path = folder / module.replace(".", "/")
    candidates = (path.with_name(f"{path.name}.py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.exists()), None)


def load_function(folder: Path, runtime: str = DEFAULTS["Runtime"]) -> Function:
    """Read and check one function's folder.

    :param runtime: the function's, if its ``function.json`` names none.
    :raises SeedingError: if its ``function.json`` cannot be used or the handler is not there.
    """
    where = f"lambdas/{folder.name}"
    path = folder / "function.json"
    settings = DEFAULTS | {"FunctionName": folder.name.replace("_", "-"), "Runtime": runtime}
    if path.exists():
        settings |= read_json(path)
    validate(f"{where}/function.json", "lambda", "create_function", settings | {"Code": {"ZipFile": b""}})
    _check_settings(f"{where}/function.json", settings)
    module, _, handler = settings["Handler"].rpartition(".")
    source = _source(folder, module)
    if source is None:
        missing = f"{module.replace('.', '/')}.py is missing (Handler is {settings['Handler']!r})"
        raise SeedingError(f"{where} has no handler: {missing}")
    name = source.relative_to(folder)
    try:
        found = _may_define(source.read_bytes(), source, handler)
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise SeedingError(f"{where}/{name}{line}: {error.msg}") from error
    except (ValueError, OSError) as error:
        raise SeedingError(f"{where}/{name} cannot be read: {error}") from error
    if not found:
        raise SeedingError(f"{where} has no handler: {name} does not define {handler}")
    return Function(folder, settings)


def _check_settings(where: str, settings: dict[str, Any]) -> None:
    """Check what the model of AWS only describes.

    :raises SeedingError: naming the setting.
    """
    if not re.fullmatch(r"python3\.\d+", wanted := settings["Runtime"]):
        raise SeedingError(
            f"{where}: Runtime is {wanted!r}, and functions run on {DEFAULTS['Runtime']}: set that"
        )
    if (number := len(settings.get("Layers", []))) > MAX_LAYERS:
        raise SeedingError(f"{where}: Layers has {number} layers, and Lambda takes {MAX_LAYERS}: merge some")


def followed(path: Path, boundary: Path) -> Path:
    """Return where a path really is.

    :param boundary: the folder with all functions, which LocalStack has before it: no link may leave it.
    :raises SeedingError: if the path is a link that leaves it, or that leads nowhere.
    """
    real = Path(os.path.realpath(path))
    inside = real.is_relative_to(boundary.resolve())
    if path.is_symlink() and not (inside and real.exists()):
        raise SeedingError(
            f"{boundary.name}/{os.path.relpath(path, boundary)} is a link to {path.readlink()}, "
            f"which is {'not there' if inside else f'outside of {boundary.name}/'}: "
            f"move that into {boundary.name}/, into a folder whose name begins with _"
        )
    return real


def read_functions(*roots: Path) -> tuple[list[Function], dict[str, str]]:
    """Read and check every function of some folders: all folders there but library, layers and hidden ones.

    :param roots: ``lambdas/``; in LocalStack also those of overlays, before it.
    :return: the good ones, and what is wrong with the others, by folder name.
    """
    functions: dict[str, Function] = {}
    wrong: dict[str, str] = {}
    for path in [path for root in roots for path in sorted(root.iterdir())]:
        if path.name in (LIBRARY, LAYERS) or path.name[0] in "._":
            continue
        # Functions are kept account of by folder.
        if any(one.folder.name == path.name for one in functions.values()):
            problem = "is named like the folder of a function that an overlay brings: rename it"
            wrong[f"lambdas/{path.name}"] = f"lambdas/{path.name} {problem}"
            continue
        try:
            if not followed(path, path.parent).is_dir():
                continue
            function = load_function(path)
        except SeedingError as error:
            wrong[path.name] = str(error)
            continue
        first = functions.setdefault(function.name, function)
        if first is not function:
            wrong[path.name] = (
                f"lambdas/{path.name}: lambdas/{first.folder.name} is the function {function.name} too: "
                "give one of them another FunctionName in its function.json"
            )
    return list(functions.values()), wrong


def load_functions(folder: Path) -> list[Function]:
    """Return every function of ``folder``; a ``SeedingError`` names everything that is wrong, a line each."""
    functions, wrong = read_functions(folder)
    if wrong:
        raise SeedingError("\n".join(wrong.values()))
    return functions
