"""Seeds at LocalStack's start and after each edit, and keeps account of what failed.

LocalStack keeps nothing but S3 over a restart, so this runs inside its process each time that it has started,
and then deploys again whatever is edited. Everything is checked before anything is sent.
"""

import atexit
import os
import sys
import threading
from collections.abc import Collection, Iterable
from pathlib import Path

import boto3

from windtunnel.seeding import account, resources
from windtunnel.seeding.functions import LIBRARY, Function, deploy, function_folders, read_functions
from windtunnel.seeding.validation import SeedingError

# The folder in LocalStack's container with `lambdas`, `config` and the library.
ROOT = Path(os.environ.get("WINDTUNNEL_HOME", "/opt/windtunnel"))


def say(message: str) -> None:
    """Write one line to the service's log."""
    sys.stderr.write(f"seeding: {message}\n")
    sys.stderr.flush()


def seed_resources() -> None:
    """Create what ``config/aws.json`` lists and AWS does not have; keep account of what failed."""
    with account.changed() as wrong:
        wrong.pop(resources.FILE, None)
        reasons = []
        try:
            calls = resources.load_resources(ROOT / "config" / resources.FILE)
        except SeedingError as error:
            calls = []
            reasons.append(str(error))
        for service, operation, arguments in calls:
            try:
                resources.create(boto3.client(service), operation, arguments)
            except SeedingError as error:
                reasons.append(str(error))
        if reasons:
            wrong[resources.FILE] = "; ".join(reasons)
            say(wrong[resources.FILE])


def seed_functions(names: Collection[str] = ()) -> dict[str, str]:
    """Deploy new and changed functions of ``lambdas/``; keep account of what failed.

    :param names: of functions or their folders; without any, all are meant.
    :returns: which of these failed and why, by folder; the others are deployed.
    """
    found, unusable = read_functions(ROOT / "lambdas")
    asked = [one for one in found if not names or {one.name, one.folder.name} & set(names)]
    failed = {folder: reason for folder, reason in unusable.items() if not names or folder in names}
    with account.changed() as wrong:
        # If all are asked for, folders that are gone leave the account, too.
        settled = [one.folder.name for one in asked] if names else set(wrong) - {resources.FILE}
        for folder in settled:
            wrong.pop(folder, None)
        failed |= _deploy_each(asked, say_all=bool(names))
        wrong |= failed
    for reason in failed.values():
        say(reason)
    return failed


def _deploy_each(functions: Iterable[Function], *, say_all: bool) -> dict[str, str]:
    """Deploy functions; return which of them failed and why, by folder.

    :param say_all: name functions that were up to date, too.
    """
    client = boto3.client("lambda")
    failed = {}
    for function in functions:
        try:
            changed = deploy(function, client, ROOT / LIBRARY)
        except SeedingError as error:
            failed[function.folder.name] = str(error)
            continue
        if changed or say_all:
            say(f"function {function.name} is {'deployed' if changed else 'up to date'}")
    return failed


def watch(stop: threading.Event) -> None:
    """Seed again whenever a function, the library or a setting is saved, until ``stop`` is set."""
    # Installed beside LocalStack only.
    from watchfiles import watch as changes

    folders = (ROOT / "lambdas", ROOT / LIBRARY, ROOT / "config")
    options = {"step": 50, "debounce": 200, "rust_timeout": 1000, "yield_on_timeout": True}
    for number, saved in enumerate(changes(*folders, stop_event=stop, raise_interrupt=False, **options)):
        # Only when it was saved: not every call may be made twice.
        if any(Path(path).name == resources.FILE for _, path in saved):
            seed_resources()
        # At the first time in any case: what was saved before the watch began.
        if saved or number == 0:
            seed_functions()


def main_in_localstack() -> None:
    """Seed, then watch for edits in a thread of LocalStack's process.

    A failure does not fail LocalStack's init script, whose state is final: the next edit may be the fix.
    """
    account.file(os.environ).unlink(missing_ok=True)
    seed_resources()
    seed_functions()
    if not account.failures(os.environ):
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
