"""Seeds at LocalStack's start and after each edit, and keeps account of what failed.

LocalStack keeps only S3 over a restart, so this runs in its process after each start. Every function and
resource is checked before anything is sent.
"""

import atexit
import os
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import boto3

from windtunnel.seeding import account, resources
from windtunnel.seeding.deployment import deploy
from windtunnel.seeding.functions import LAYERS, LIBRARY, Function, read_functions
from windtunnel.seeding.installing import Installer
from windtunnel.seeding.layers import Layers
from windtunnel.seeding.packaging import Packages
from windtunnel.seeding.required import FILE
from windtunnel.seeding.validation import SeedingError

# The folder of `lambdas`, `config` and the library in LocalStack's container.
ROOT = Path(os.environ.get("WINDTUNNEL_HOME", "/opt/windtunnel"))

# How the names of variables begin in which overlays name a folder with functions.
VARIABLE = "AWS_FUNCTIONS_"


def function_folders() -> list[Path]:
    """Return the folders with functions: those that overlays name, each in a variable, then ``lambdas/``."""
    of_overlays = [Path(value) for name, value in sorted(os.environ.items()) if name.startswith(VARIABLE)]
    return [*of_overlays, ROOT / "lambdas"]


def say(message: str) -> None:
    """Write one line to the service's log."""
    sys.stderr.write(f"seeding: {message}\n")
    sys.stderr.flush()


def _say_and_report(line: str) -> None:
    say(line)
    account.report(line)


def seed() -> None:
    """Bring AWS to what ``config/aws.json`` and ``lambdas/`` say, whichever of them needs the other."""
    with account.changed() as kept:
        _apply_resources(kept)
    seed_functions()
    with account.changed() as kept:
        if resources.FILE in kept["failures"]:
            _apply_resources(kept)
        if reason := kept["failures"].get(resources.FILE):
            say(reason)


def _apply_resources(kept: account.Account) -> None:
    """Make the calls of ``config/aws.json`` and of overlays that were not made since LocalStack started."""
    kept["failures"].pop(resources.FILE, None)
    try:
        calls = resources.load_resources(ROOT / "config" / resources.FILE)
        calls += resources.load_of_overlays(os.environ)
        kept["called"], reasons = resources.apply(calls, boto3.client, kept["called"])
    except SeedingError as error:
        reasons = [str(error)]
    if reasons:
        kept["failures"][resources.FILE] = "; ".join(reasons)


def seed_functions(names: Collection[str] = ()) -> dict[str, str]:
    """Deploy new and changed functions, of overlays too, and layers, and delete functions that are gone.

    :param names: of functions or their folders, whose deployment is logged even if nothing changed; without
        any, all functions and layers are meant.
    :return: why functions failed, by folder, and layers, by ``layers/NAME``; the others are deployed.
    """
    found, unusable = read_functions(*function_folders())
    asked = [one for one in found if not names or {one.name, one.folder.name} & set(names)]
    failed = {folder: reason for folder, reason in unusable.items() if not names or folder in names}
    client = boto3.client("lambda")
    packages = Packages(ROOT / "lambdas", ROOT / LIBRARY, Installer.of(os.environ, _say_and_report))
    layers = Layers(packages, client)
    if not names:
        with account.changed() as kept:
            _delete_gone(client, kept["deployed"], {one.name for one in found}, set(unusable))
    jobs: dict[str, Callable[[], None]] = {
        function.folder.name: partial(_deploy, function, client, packages, layers, bool(names))
        # What has to be installed first keeps nothing else waiting.
        for function in sorted(
            asked, key=lambda one: (one.folder / FILE).exists() or "Layers" in one.settings
        )
    }
    for key, name in ((f"{LAYERS}/{name}", name) for name in packages.layers()):
        if not names or key in names:
            jobs[key] = partial(_publish, layers, name)
    # If all are asked for, folders that are gone leave the account, too.
    with account.changed() as kept:
        there = {*jobs, resources.FILE} if not names else kept["failures"].keys()
        kept["failures"] = {key: why for key, why in kept["failures"].items() if key in there} | failed
    for key, job in jobs.items():
        try:
            job()
            reason = ""
        except (SeedingError, OSError) as error:
            failed[key] = reason = str(error)
        with account.changed() as kept:
            kept["failures"].pop(key, None)
            kept["failures"] |= {key: reason} if reason else {}
    for reason in failed.values():
        say(reason)
    return failed


def _deploy(function: Function, client: Any, packages: Packages, layers: Layers, is_named: bool) -> None:
    """Deploy one function, and say so if it was changed or is named.

    :raises SeedingError: if that cannot be done.
    """
    # Before the account is held: an installation takes its time.
    packages.installed(function.folder, function.folder.parent)
    layers.prepare(function)
    folder = function.folder.name
    with account.changed() as kept:
        deployed = kept["deployed"]
        before = deployed.get(folder, function.settings)
        if before["FunctionName"] != function.name:  # under a new name it is another function
            _delete(client, before["FunctionName"])
            del deployed[folder]
        try:
            code = packages.function(function)
            changed = deploy(function, client, code, layers, deployed.get(folder))
        except SeedingError:
            # Lambda may have it all the same, as Failed, and then it goes with its folder.
            deployed.setdefault(folder, function.settings)
            raise
        deployed[folder] = function.settings
    if changed or is_named:
        say(f"function {function.name} is {'deployed' if changed else 'up to date'}")


def _publish(layers: Layers, name: str) -> None:
    layers.content(name)
    with account.changed():
        layers.arn(name)


def _delete_gone(client: Any, deployed: dict[str, Any], there: set[str], unusable: set[str]) -> None:
    """Delete functions whose folder is gone or is another function now; one that is only broken stays."""
    for folder, settings in list(deployed.items()):
        name = settings["FunctionName"]
        if name in there or folder in unusable:
            continue
        _delete(client, name)
        del deployed[folder]


def _delete(client: Any, name: str) -> None:
    with suppress(client.exceptions.ResourceNotFoundException):
        client.delete_function(FunctionName=name)
    say(f"function {name} is deleted, because no folder of lambdas/ is it any more")


def watch(stop: threading.Event) -> None:
    """Seed again whenever a function, the library or a setting is saved, until ``stop`` is set."""
    # Installed beside LocalStack only.
    from watchfiles import watch as changes

    folders = (*function_folders(), ROOT / LIBRARY, ROOT / "config")
    options = {"step": 50, "debounce": 200, "rust_timeout": 1000, "yield_on_timeout": True}
    for number, saved in enumerate(changes(*folders, stop_event=stop, raise_interrupt=False, **options)):
        # The first time in any case, because a file may have been saved before the watch began.
        if saved or number == 0:
            seed()


def main_in_localstack() -> None:
    """Seed, then watch for edits in a thread of LocalStack's process.

    A failure does not fail LocalStack's init script, whose state is final: the next edit may be the fix.
    """
    account.file(os.environ).unlink(missing_ok=True)
    account.report("")
    seed()
    if not account.read(os.environ)["failures"]:
        say("ready")
    stop = threading.Event()
    watcher = threading.Thread(target=watch, args=(stop,), daemon=True, name="windtunnel-watch")
    watcher.start()

    # If a thread is in watchfiles' native code when Python ends, the process aborts.
    @atexit.register
    def stop_watching() -> None:
        stop.set()
        watcher.join(timeout=1)
