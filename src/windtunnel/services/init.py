"""One-shot set-up of Airflow's metadata database; safe to run any number of times, also twice at once.

Everything happens in this one process, because importing Airflow takes longer than all of the work: the
commands are Airflow's own command line, called in place.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2

from windtunnel.services import secrets

# How long a fresh database may take to accept connections: initdb on a slow disk, in seconds.
DATABASE_TIMEOUT = 60.0

# Any fixed number: inits that run at the same time wait for each other.
ADVISORY_LOCK = 0x77696E64


class InitError(Exception):
    """The set-up cannot go on; the message says what to do."""


@contextmanager
def exclusive_database() -> Iterator["psycopg2.extensions.cursor"]:
    """Wait for the database, then hold it against other inits.

    :return: a cursor; what it executes is committed at once.
    :raises InitError: when it takes longer than ``DATABASE_TIMEOUT`` or refuses the password.
    """
    deadline = time.monotonic() + DATABASE_TIMEOUT
    while True:
        try:
            connection = psycopg2.connect(secrets.database_dsn(os.environ), connect_timeout=5)
            break
        except psycopg2.OperationalError as error:
            if "password authentication failed" in str(error):
                raise InitError(
                    "Postgres refuses our password: its volume was made with other secrets. "
                    "Start from nothing: `down --volumes` deletes the metadata database."
                ) from error
            if time.monotonic() > deadline:
                raise InitError(f"no answer from Postgres in {DATABASE_TIMEOUT:.0f} s: {error}") from error
            time.sleep(0.1)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
        try:
            yield cursor
        finally:
            connection.close()


def seed_files(folder: Path) -> dict[str, Path]:
    """The files in ``folder`` for Airflow's import of connections, pools and variables, those that are there.

    :raises InitError: when one of them is not a JSON object.
    """
    files = {
        kind: path
        for kind in ("connections", "pools", "variables")
        if (path := folder / f"{kind}.json").exists()
    }
    for path in files.values():
        try:
            content = json.loads(path.read_text())
        except ValueError as error:
            raise InitError(f"{path.name} in the config folder is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise InitError(
                f"{path.name} in the config folder must be a JSON object, "
                f"as `airflow {path.stem} export` writes it"
            )
    return files


def main() -> None:
    """Migrate the database, import the seed files, parse all DAGs once; exit 2 when that cannot be done."""
    try:
        files = seed_files(secrets.config_folder(os.environ))
        from airflow.cli.cli_parser import get_parser

        def airflow(*arguments: str) -> None:
            parsed = get_parser().parse_args(arguments)
            parsed.func(parsed)

        with exclusive_database() as cursor:
            airflow("db", "migrate")
            cursor.execute("SELECT now()")
            begin = cursor.fetchone()
            for kind, path in files.items():
                overwrite = ["--overwrite"] if kind == "connections" else []
                airflow(kind, "import", *overwrite, str(path))
            # So that every DAG can run the moment the scheduler is up; later edits are the dag-processor's.
            airflow("dags", "reserialize")
            # What is older is of files that are gone; it would let the dag-processor be called unhealthy.
            cursor.execute("DELETE FROM import_error WHERE timestamp < %s", begin)
    except InitError as error:
        sys.stderr.write(f"init: {error}\n")
        sys.exit(2)
    user, password = secrets.admin_login(os.environ)
    print(f"init: done. The web page's user is {user}, the password {password}")  # noqa: T201


if __name__ == "__main__":
    main()
