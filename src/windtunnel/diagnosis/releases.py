"""Which release of DAGs a stack has, and which older ones runs still go on with."""

from collections.abc import Iterator
from typing import Any

from windtunnel.diagnosis.containers import Row, clock
from windtunnel.release.bucket import Bucket, Release, configured, s3_explained
from windtunnel.stack.base import Stack
from windtunnel.stack.command import COMMAND
from windtunnel.stack.errors import Finding


def look(stack: Stack) -> tuple[list[Row], list[Finding]]:
    """Return a row for each release in use, and what is wrong; nothing if DAGs come from a folder.

    :raises windtunnel.stack.errors.StackError: if the bucket cannot be read.
    """
    if configured(stack) is None or not all(map(stack.is_running, ("webserver", "localstack"))):
        return [], []
    bucket = Bucket.of(stack)
    asked = stack.ask("webserver", "releases", bucket.bundle)
    with s3_explained():
        current = bucket.current()
    return list(_rows(current, asked)), list(_findings(bucket, current, asked["version"]))


def _rows(current: Release | None, asked: dict[str, Any]) -> Iterator[Row]:
    runs = dict(asked["runs"])
    if current:
        number = runs.pop(current.version, 0)
        since = f"since {clock(current.since)}"
        yield current.version, "current", f"{since}, {_runs(number)} on with it" if number else since
    for version, number in runs.items():
        yield version, "older", f"{_runs(number)} on with it"


def _runs(number: int) -> str:
    return "1 run goes" if number == 1 else f"{number:,} runs go"


def _findings(bucket: Bucket, current: Release | None, has: str | None) -> Iterator[Finding]:
    if current is None:
        yield Finding("nothing is released yet: Airflow has no DAGs", f"{COMMAND} release")
    elif current.version != has:
        where = f"s3://{bucket.name}/{bucket.prefix}"
        problem = f"the release {current.version} is current in {where}, and Airflow has {has or 'none'}"
        remedy = (
            f"If it stays so, see {COMMAND} logs dag-processor; back to another: {COMMAND} release --to …"
        )
        yield Finding(problem, remedy)
