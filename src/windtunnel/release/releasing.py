"""What ``./windtunnel release`` does: check, pack, put into the bucket, make current, wait for Airflow."""

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from windtunnel.release import packing
from windtunnel.release.bucket import Bucket
from windtunnel.services import dag_files
from windtunnel.stack import requirements
from windtunnel.stack.base import Say, Stack
from windtunnel.stack.command import COMMAND
from windtunnel.stack.errors import Finding, StackError, Unmet
from windtunnel.stack.settings import REQUIREMENTS_SETTING, Settings
from windtunnel.waiting import WaitTimeout, wait_until

# How long the dag-processor may take to unpack a release, and then to parse its files, in seconds.
UNPACKED, PARSED = 60.0, 20.0


def of_folder(settings: Settings, folder: Path | None) -> Settings:
    """Return the settings with a repository's folder in place of their own.

    :param folder: has ``dags/``, and may have ``custom/`` and ``requirements.txt``; None for what is mounted.
    :raises Unmet: if it has no ``dags/``, or wants other packages than the stack has.
    """
    if folder is None:
        return settings
    root = folder.expanduser().resolve()
    if not (root / "dags").is_dir():
        remedy = "Name the folder that dags/, custom/ and requirements.txt are in."
        raise Unmet(Finding(f"there is no folder {root / 'dags'}", remedy))
    wanted = root / packing.REQUIREMENTS
    if wanted.exists() and requirements.text(wanted) != requirements.text(settings.requirements_file()):
        remedy = (
            f"Packages are not released: {REQUIREMENTS_SETTING}={wanted} {COMMAND} up, then release again."
        )
        raise Unmet(Finding(f"the stack has not the packages of {wanted}", remedy))
    custom = root / "custom"
    if not custom.exists():
        custom = settings.state_folder / "empty" / "custom"
        custom.mkdir(parents=True, exist_ok=True)
    own = {packing.FOLDERS["dags"]: str(root / "dags"), packing.FOLDERS["custom"]: str(custom)}
    return replace(settings, variables={**settings.variables, **own})


def parsed_files(settings: Settings, folder: Path, say: Say) -> list[str]:
    """Parse all DAG files of a release, as ``pytest --windtunnel-check`` does; return those that make DAGs.

    :param folder: what messages call a file is relative to it; what is returned, to the DAGs folder.
    :raises Unmet: naming each file that does not parse.
    """
    # pytest and the local engine are heavy.
    from windtunnel.local.stack import ProcessStack
    from windtunnel.pytest_plugin.static_checks.checks import CheckFailed, Checks

    wrong, dags = [], settings.folder("DAGS_FOLDER")
    found = set()
    for check in Checks(ProcessStack(settings), folder).of_dags(say):
        found.add(os.path.relpath(folder.resolve() / check.subject, dags))
        try:
            check.require()
        except (CheckFailed, StackError) as error:
            wrong.append(Finding(f"{check.subject}: {error}", "Correct the file. Nothing was released."))
    if wrong:
        raise Unmet(*wrong)
    return [name for name in dag_files.suspects(dags, ()) if name in found]


def put(stack: Stack, bucket: Bucket, folder: Path | None, say: Say) -> tuple[str, list[str]]:
    """Put a release into the bucket; return its version, and the files of which DAGs are to come.

    :raises Unmet: if it is refused; nothing is in the bucket then.
    """
    if not stack.has_parts():
        # To parse DAG files, what runs would be installed anew.
        raise Unmet(Finding("the stack's own packages have changed since it was started", f"{COMMAND} up"))
    settings = of_folder(stack.settings, folder)
    content = packing.pack(settings)
    files = parsed_files(settings, folder or Path.cwd(), say)
    version = packing.version_of(content)
    bucket.add(version, content)
    return version, files


def await_airflow(stack: Stack, bucket: Bucket, version: str, files: Collection[str] = ()) -> list[str]:
    """Wait until the dag-processor has a release; return DAGs and files that are not parsed soon after that.

    :param files: those of which DAGs are to come.
    :raises StackError: if it does not take the release.
    """

    late: list[str] = []

    def taken_up() -> bool:
        found = stack.ask("webserver", "releases", bucket.bundle)
        late[:] = [*found["behind"], *sorted(set(files) - set(found["files"]))]
        return bool(found["version"] == version)

    try:
        wait_until(f"Airflow to have the release {version}", taken_up, timeout=UNPACKED)
    except WaitTimeout as timeout:
        raise StackError(str(timeout), next_step=f"{COMMAND} logs dag-processor --tail 20") from timeout
    try:
        # Another release may have come meanwhile.
        wait_until("its DAGs to be parsed", lambda: not (taken_up() and late), timeout=PARSED)
    except WaitTimeout:
        return late
    return []
