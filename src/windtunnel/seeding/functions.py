"""Lambda functions, a folder of ``lambdas/`` each: reading, checking, packaging and deploying them."""

import ast
import base64
import hashlib
import io
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from windtunnel.seeding.validation import SeedingError, read_json, validate

LIBRARY = "airflow_relay"

# A function's settings, unless its `function.json` has others. The handler is named as in the AWS console;
# the role only has to look like one.
DEFAULTS: dict[str, Any] = {
    "Handler": "lambda_function.lambda_handler",
    # Functions run on the same version of Python as LocalStack.
    "Runtime": "python{}.{}".format(*sys.version_info),
    "Timeout": 60,
    "Role": "arn:aws:iam::000000000000:role/lambda",
}

# botocore's own waiter looks once a second; LocalStack needs about 0.15 s.
WAITER = {"Delay": 0.05, "MaxAttempts": 600}


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


def read_functions(folder: Path) -> tuple[list[Function], dict[str, str]]:
    """Read and check every function of ``folder``: all its folders but the library and hidden ones.

    :return: the good ones, and what is wrong with the others, by folder name.
    """
    functions: dict[str, Function] = {}
    wrong: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or path.name == LIBRARY or path.name[0] in "._":
            continue
        try:
            function = load_function(path)
        except SeedingError as error:
            wrong[path.name] = str(error)
            continue
        first = functions.setdefault(function.name, function)
        if first is not function:
            wrong[path.name] = f"lambdas/{first.folder.name} is the function {function.name} too"
    return list(functions.values()), wrong


def load_functions(folder: Path) -> list[Function]:
    """Return every function of ``folder``; a ``SeedingError`` names everything that is wrong, a line each."""
    functions, wrong = read_functions(folder)
    if wrong:
        raise SeedingError("\n".join(wrong.values()))
    return functions


def package(folders: Iterable[Path]) -> bytes:
    """Zip the first folder's content and further folders by name; equal input makes equal bytes."""
    main, *libraries = folders
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for base, root in [(main, main), *((library.parent, library) for library in libraries)]:
            for path in sorted(root.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    entry = zipfile.ZipInfo(str(path.relative_to(base)))
                    entry.external_attr = 0o644 << 16
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def deploy(function: Function, client: Any, library: Path) -> bool:
    """Create or update ``function`` and wait until it is Active; False if it was up to date already.

    :param client: boto3's for Lambda.
    :param library: the folder of ``airflow_relay``, which each function gets.
    :raises SeedingError: with Lambda's reason, if Lambda does not take it.
    """
    from botocore.exceptions import BotoCoreError, ClientError, WaiterError

    changed = True
    try:
        code = package([function.folder, library])
        try:
            current = client.get_function_configuration(FunctionName=function.name)
        except client.exceptions.ResourceNotFoundException:
            client.create_function(**function.settings, Code={"ZipFile": code})
        else:
            changed = _update(client, function, current, code)
        client.get_waiter("function_active_v2").wait(FunctionName=function.name, WaiterConfig=WAITER)
    except (ClientError, BotoCoreError, OSError) as error:
        reason = str(error)
        if isinstance(error, WaiterError):
            last = error.last_response.get("Configuration", error.last_response)
            reason = last.get("StateReason") or last.get("LastUpdateStatusReason") or reason
        raise SeedingError(f"Lambda does not take {function.name}: {reason}") from error
    return changed


def is_as_saved(function: Function, found: Mapping[str, Any] | None, library: Path) -> bool:
    """Return whether Lambda has the folder's code, and the settings were not saved since.

    :param found: the function's configuration on Lambda; None if it is not there.
    :param library: the folder of ``airflow_relay``.
    """
    if found is None or not _has_code(found, package([function.folder, library])):
        return False
    settings = function.folder / "function.json"
    saved = settings.stat().st_mtime if settings.exists() else 0.0
    return saved < datetime.fromisoformat(found["LastModified"]).timestamp()


def _has_code(found: Mapping[str, Any], code: bytes) -> bool:
    return bool(found["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode())


def _update(client: Any, function: Function, current: dict[str, Any], code: bytes) -> bool:
    changes = []
    if not _has_code(current, code):
        changes.append((client.update_function_code, {"FunctionName": function.name, "ZipFile": code}))
    comparable = current | {"Layers": [layer["Arn"] for layer in current.get("Layers", [])]}
    # Some settings cannot be changed after the function was created, its tags for example.
    updatable = client.meta.service_model.operation_model("UpdateFunctionConfiguration").input_shape.members
    settings = {key: value for key, value in function.settings.items() if key in updatable}
    if any(comparable.get(key) != value for key, value in settings.items()):
        changes.append((client.update_function_configuration, settings))
    for change, arguments in changes:
        change(**arguments)
        client.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig=WAITER)
    return bool(changes)
