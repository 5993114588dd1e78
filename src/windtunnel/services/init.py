"""Sets up Airflow's metadata database; safe to run any number of times, also twice at once.

Everything happens in one process, because importing Airflow takes longer than all of the work: it calls
Airflow's own commands without starting them as processes.
"""

import json
import os
import sys
from contextlib import closing
from pathlib import Path

import psycopg2

from windtunnel.services import dag_serialization, secrets
from windtunnel.waiting import WaitTimeout, wait_until

# How long a new database may take to accept connections, in seconds: initdb may run on a slow disk.
DATABASE_TIMEOUT = 60.0

# Any fixed number: with it, inits that run at the same time wait for each other.
ADVISORY_LOCK = 0x77696E64


class InitError(Exception):
    """The set-up cannot go on; the message says what to do."""


def _connect() -> "psycopg2.extensions.connection":
    try:
        return psycopg2.connect(secrets.database_dsn(os.environ), connect_timeout=5)
    except psycopg2.OperationalError as error:
        if "password authentication failed" not in str(error):
            raise
        raise InitError(
            "Postgres refuses our password: its volume was made with other secrets. "
            "Start from nothing: `down --volumes` deletes the metadata database."
        ) from error


def seed_files(folder: Path) -> dict[str, Path]:
    """Return which files of ``folder`` Airflow is to import, by kind: connections, pools, variables.

    :raises InitError: if one of them is not a JSON object.
    """
    paths = (folder / f"{kind}.json" for kind in ("connections", "pools", "variables"))
    files = {path.stem: path for path in paths if path.exists()}
    for kind, path in files.items():
        where = f"{path.name} in the config folder"
        try:
            content = json.loads(path.read_text())
        except ValueError as error:
            raise InitError(f"{where} is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise InitError(f"{where} must be a JSON object, as `airflow {kind} export` writes it")
    return files


def main() -> None:
    """Migrate the database, import the seed files, parse all DAGs once; exit 2 if that cannot be done."""
    try:
        files = seed_files(Path(os.environ["AIRFLOW_HOME"], "config"))
        from airflow.cli.cli_parser import get_parser

        def airflow(*arguments: str) -> None:
            parsed = get_parser().parse_args(arguments)
            parsed.func(parsed)

        not_yet = (psycopg2.OperationalError,)
        connection = wait_until("Postgres to answer", _connect, timeout=DATABASE_TIMEOUT, retry_on=not_yet)
        connection.autocommit = True
        with closing(connection), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
            airflow("db", "migrate")
            cursor.execute("SELECT now()")
            begin = cursor.fetchone()
            for kind, path in files.items():
                overwrite = ["--overwrite"] if kind == "connections" else []
                airflow(kind, "import", *overwrite, str(path))
            # Every DAG can then run as soon as the scheduler is up. The dag-processor reads later edits.
            try:
                airflow("dags", "reserialize")
            except Exception as error:  # of a DAG that cannot be serialized
                sys.stderr.write(
                    f"init: saving DAGs one by one, because saving them at once failed: {error}\n"
                )
                dag_serialization.save_each()
            # Older errors belong to files that are gone; with them the dag-processor would be unhealthy.
            cursor.execute("DELETE FROM import_error WHERE timestamp < %s", begin)
    except (InitError, WaitTimeout) as error:
        sys.stderr.write(f"init: {error}\n")
        sys.exit(2)
    user, password = secrets.admin_login(os.environ)
    print(f"init: done. The web page's user is {user}, the password {password}")  # noqa: T201


if __name__ == "__main__":
    main()
