"""Puts into LocalStack what the stack stands on: ``config/aws.json`` and the functions of ``lambdas/``.

LocalStack keeps nothing but S3 over a restart, so this runs inside its process each time that it has started,
and then deploys again whatever is edited. Everything is validated before anything is sent.
"""

import ast
import atexit
import base64
import hashlib
import io
import json
import os
import sys
import threading
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from windtunnel import locks

# Where LocalStack's container has them.
ROOT = Path(os.environ.get("WINDTUNNEL_HOME", "/opt/windtunnel"))
LIBRARY = "airflow_relay"


# A function's settings where its `function.json` is silent. The names of file and handler are those of a
# function made in the AWS console; the role only has to look like one.
DEFAULTS: dict[str, Any] = {
    "Handler": "lambda_function.lambda_handler",
    # LocalStack's own version is also that of the functions' Python.
    "Runtime": "python{}.{}".format(*sys.version_info),
    "Timeout": 60,
    "Role": "arn:aws:iam::000000000000:role/lambda",
}

# botocore's own waiter looks once a second; LocalStack needs about 0.15 s.
WAITER = {"Delay": 0.05, "MaxAttempts": 600}


class SeedingError(Exception):
    """What is to be seeded is wrong; the message names the file and the remedy."""


@dataclass(frozen=True)
class Function:
    """One folder of ``lambdas/``: its path and Lambda's ``CreateFunction`` arguments, without the code."""

    folder: Path
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """The function's name on Lambda."""
        return str(self.settings["FunctionName"])


def say(message: str) -> None:
    """One line to the service's log."""
    sys.stderr.write(f"seeding: {message}\n")
    sys.stderr.flush()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise SeedingError(f"{path.parent.name}/{path.name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise SeedingError(
            f"{path.parent.name}/{path.name} must hold a JSON object, not a {type(content).__name__}"
        )
    return content


def _validate(where: str, service: str, operation: str, arguments: dict[str, Any]) -> None:
    """Check ``arguments`` against botocore's own model of the service.

    :raises SeedingError: naming every wrong, unknown or missing argument.
    """
    import botocore
    import botocore.exceptions
    import botocore.loaders
    import botocore.model
    import botocore.validate

    try:
        description = botocore.loaders.create_loader().load_service_model(service, "service-2")
    except botocore.exceptions.UnknownServiceError as error:
        raise SeedingError(f"{where}: boto3 knows no service {service}") from error
    model = botocore.model.ServiceModel(description)
    operations = {botocore.xform_name(name): name for name in model.operation_names}
    if operation not in operations:
        raise SeedingError(f"{where}: {service} has no operation {operation}")
    shape = model.operation_model(operations[operation]).input_shape
    report = botocore.validate.ParamValidator().validate(arguments, shape) if shape else None
    if report and report.has_errors():
        raise SeedingError(f"{where}: {report.generate_report()}")


def load_resources(path: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """The calls that ``config/aws.json`` lists: service, operation and arguments, as boto3 names them.

    :raises SeedingError: when the file is not of the form ``{service: {operation: [arguments, …]}}``, or
        botocore refuses a call.
    """
    calls = []
    for service, operations in (_read_json(path) if path.exists() else {}).items():
        try:
            entries = [
                (operation, arguments) for operation, listed in operations.items() for arguments in listed
            ]
        except (AttributeError, TypeError) as error:
            raise SeedingError(f"{path.name}: {service} must hold {{operation: [arguments, …]}}") from error
        for operation, arguments in entries:
            _validate(f"{path.name}: {service}.{operation}", service, operation, arguments)
            calls.append((service, operation, arguments))
    return calls


def _defined_names(source: Path) -> Iterator[str]:
    for node in ast.parse(source.read_text(encoding="utf-8"), filename=str(source)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.ImportFrom | ast.Import):
            yield from (alias.asname or alias.name for alias in node.names)


def load_function(folder: Path, runtime: str = DEFAULTS["Runtime"]) -> Function:
    """Read and check one function's folder.

    :param runtime: where its ``function.json`` names none.
    :raises SeedingError: when its ``function.json`` cannot be used or the handler is not there.
    """
    where = f"lambdas/{folder.name}"
    path = folder / "function.json"
    own = _read_json(path) if path.exists() else {}
    default = DEFAULTS | {"Runtime": runtime}
    settings = {"FunctionName": folder.name.replace("_", "-")} | default | own
    _validate(f"{where}/function.json", "lambda", "create_function", settings | {"Code": {"ZipFile": b""}})
    module, _, handler = settings["Handler"].rpartition(".")
    source = folder / f"{module}.py"
    if not source.exists():
        source = folder / module / "__init__.py"
    if not source.exists():
        raise SeedingError(
            f"{where} has no handler: {module}.py is missing (Handler is {settings['Handler']!r})"
        )
    try:
        defined = set(_defined_names(source))
    except SyntaxError as error:
        raise SeedingError(f"{where}/{source.name}, line {error.lineno}: {error.msg}") from error
    except (UnicodeDecodeError, OSError) as error:
        raise SeedingError(f"{where}/{source.name} cannot be read: {error}") from error
    if handler not in defined:
        raise SeedingError(f"{where} has no handler: {source.name} does not define {handler}")
    return Function(folder, settings)


def function_folders(folder: Path) -> list[Path]:
    """The folders of ``lambdas/`` that are functions: all but the library's and hidden ones."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and path.name != LIBRARY and path.name[0] not in "._"
    )


def read_functions(folder: Path) -> tuple[list[Function], dict[str, str]]:
    """Read and check every function of ``folder``: the good ones, and what is wrong with the others."""
    functions: dict[str, Function] = {}
    wrong: dict[str, str] = {}
    for path in function_folders(folder):
        try:
            function = load_function(path)
        except SeedingError as error:
            wrong[path.name] = str(error)
            continue
        if function.name in functions:
            wrong[path.name] = (
                f"lambdas/{functions[function.name].folder.name} is the function {function.name} too"
            )
        functions.setdefault(function.name, function)
    return list(functions.values()), wrong


def load_functions(folder: Path) -> list[Function]:
    """Read and check every function of ``folder``.

    :raises SeedingError: naming everything that is wrong, one line each.
    """
    functions, wrong = read_functions(folder)
    if wrong:
        raise SeedingError("\n".join(wrong.values()))
    return functions


def package(folders: Iterable[Path]) -> bytes:
    """A zip of the first folder's content and of further folders by name; equal input, equal bytes."""
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


def _client(service: str) -> Any:
    import boto3

    return boto3.client(service)


def deploy(function: Function, client: Any = None, library: Path | None = None) -> bool:
    """Create or update ``function`` and wait until it is Active; False when it was up to date already.

    :param client: for Lambda; one by this process's own settings where None.
    :param library: the folder of ``airflow_relay``, which each function gets; that of LocalStack where None.
    :raises SeedingError: when Lambda does not take it, with Lambda's reason.
    """
    from botocore.exceptions import BotoCoreError, ClientError, WaiterError

    client = client or _client("lambda")
    changed = True
    try:
        code = package([function.folder, library or ROOT / LIBRARY])
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


def has_code(found: Mapping[str, Any], code: bytes) -> bool:
    """Whether a function has this code.

    :param found: the function, as Lambda tells it.
    """
    return bool(found["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode())


def _update(client: Any, function: Function, current: dict[str, Any], code: bytes) -> bool:
    changed = False
    if not has_code(current, code):
        client.update_function_code(FunctionName=function.name, ZipFile=code)
        client.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig=WAITER)
        changed = True
    comparable = current | {"Layers": [layer["Arn"] for layer in current.get("Layers", [])]}
    # Some of what a function is created with cannot be changed afterwards, its tags for example.
    updatable = client.meta.service_model.operation_model("UpdateFunctionConfiguration").input_shape.members
    settings = {key: value for key, value in function.settings.items() if key in updatable}
    if any(comparable.get(key) != value for key, value in settings.items()):
        client.update_function_configuration(**settings)
        client.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig=WAITER)
        changed = True
    return changed


# Every service has its own name for "it is there already".
_IS_THERE = ("AlreadyExists", "AlreadyOwned", "ResourceExists", "ResourceInUse")


def create(client: Any, operation: str, arguments: dict[str, Any]) -> None:
    """Make a call of ``load_resources``; that something is there already is fine.

    :param client: boto3's, for the service.
    :raises SeedingError: when AWS refuses.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    service = client.meta.service_model.service_name
    try:
        getattr(client, operation)(**arguments)
    except ClientError as error:
        if not any(word in error.response["Error"]["Code"] for word in _IS_THERE):
            raise SeedingError(f"aws.json: {service}.{operation}: {error}") from error
    except BotoCoreError as error:
        raise SeedingError(f"aws.json: {service}.{operation}: {error}") from error


def account(environment: Mapping[str, str]) -> Path:
    """The file that says what has failed since LocalStack started: {function or file: reason}.

    :param environment: LocalStack's.
    """
    return Path(environment.get("TMPDIR", "/tmp")) / "windtunnel-seeding.json"  # noqa: S108 - in its container


def failures(environment: Mapping[str, str]) -> dict[str, str]:
    """What of the seeding is in a failed state now, and why: by file or function folder.

    :param environment: LocalStack's.
    """
    state = account(environment)
    return json.loads(state.read_text()) if state.exists() else {}


@contextmanager
def _account() -> Iterator[dict[str, str]]:
    """What failed, to be changed: held against other processes, and kept for ``failures``."""
    state = account(os.environ)
    # The watch in LocalStack's process and `./windtunnel deploy` may want to deploy at the same time.
    with locks.exclusive(Path(f"{state}.lock")):
        wrong = failures(os.environ)
        yield wrong
        state.write_text(json.dumps(wrong))


def seed_resources() -> None:
    """Create what ``config/aws.json`` lists, as far as it is not there; keep account of what failed."""
    with _account() as wrong:
        wrong.pop("aws.json", None)
        reasons = []
        try:
            calls = load_resources(ROOT / "config" / "aws.json")
        except SeedingError as error:
            calls = []
            reasons.append(str(error))
        for service, operation, arguments in calls:
            try:
                create(_client(service), operation, arguments)
            except SeedingError as error:
                reasons.append(str(error))
        if reasons:
            wrong["aws.json"] = "; ".join(reasons)
            say(wrong["aws.json"])


def seed_functions(names: Collection[str] = ()) -> dict[str, str]:
    """Deploy what is new or changed of ``lambdas/``; keep account of what failed.

    :param names: of functions or their folders; all where none is given.
    :returns: what of these failed and why, by folder; the others are deployed.
    """
    functions, wrong_folders = read_functions(ROOT / "lambdas")
    folders = {name: reason for name, reason in wrong_folders.items() if not names or name in names}
    with _account() as wrong:
        for name in [] if names else [name for name in wrong if name != "aws.json"]:
            del wrong[name]
        for function in functions:
            if names and not {function.name, function.folder.name} & set(names):
                continue
            wrong.pop(function.folder.name, None)
            try:
                changed = deploy(function)
            except SeedingError as error:
                folders[function.folder.name] = str(error)
                continue
            if changed or names:
                say(f"function {function.name} is {'deployed' if changed else 'up to date'}")
        wrong |= folders
    for reason in folders.values():
        say(reason)
    return folders


def watch(stop: threading.Event) -> None:
    """Seed again whenever a function, the library or a setting is saved, until ``stop`` is set."""
    from watchfiles import watch as changes

    folders = (ROOT / "lambdas", ROOT / LIBRARY, ROOT / "config")
    options = {"step": 50, "debounce": 200, "rust_timeout": 1000, "yield_on_timeout": True}
    for number, saved in enumerate(changes(*folders, stop_event=stop, raise_interrupt=False, **options)):
        # Only when it was saved: not every call may be made twice.
        if any(Path(path).name == "aws.json" for _, path in saved):
            seed_resources()
        # At the first time in any case: what was saved before the watch began.
        if saved or number == 0:
            seed_functions()


def main_in_localstack() -> None:
    """Seed, then watch for edits in a thread of LocalStack's process.

    What fails does not fail LocalStack's init script, whose state is final: the next edit may mend it.
    """
    account(os.environ).unlink(missing_ok=True)
    seed_resources()
    seed_functions()
    if not failures(os.environ):
        say("ready")
    stop = threading.Event()
    watcher = threading.Thread(target=watch, args=(stop,), daemon=True, name="windtunnel-watch")
    watcher.start()

    # A thread inside of watchfiles' native code when Python ends makes the process abort.
    @atexit.register
    def stop_watching() -> None:
        stop.set()
        watcher.join(timeout=1)


def main() -> None:
    """Deploy the named functions, or all; exit 1 when one fails and 2 when a name is not known."""
    functions, wrong = read_functions(ROOT / "lambdas")
    known = {function.name for function in functions}
    known |= {path.name for path in function_folders(ROOT / "lambdas")}
    if unknown := [name for name in sys.argv[1:] if name not in known]:
        say(f"no function {', '.join(unknown)} in lambdas/; there are {', '.join(sorted(known))}")
        sys.exit(2)
    names = sys.argv[1:] or sorted({function.name for function in functions} | set(wrong))
    sys.exit(1 if seed_functions(names) else 0)


if __name__ == "__main__":
    main()
