"""What ``./windtunnel`` asks where a service runs; each answer is JSON on standard output.

Run there as ``python -m windtunnel.services.answers settings``, ``… aws FUNCTION...``, ``… dag_files``,
``… login``, ``… database``, ``… take TABLE NAME`` or ``… put TABLE ROW``.
"""

import json
import os
import sys
from collections.abc import Callable

from windtunnel.services import secrets

# Airflow's tables of what tasks look up, each with the column of the name.
NAMES = {"connection": "conn_id", "variable": "key"}


def settings() -> dict[str, list[str]]:
    """The options of each section that this Airflow and its providers know, deprecated names included."""
    from airflow.configuration import conf

    known = {
        section: set(description["options"])
        for section, description in conf.configuration_description.items()
    }
    for section, option, _ in conf.deprecated_options.values():
        known.setdefault(section, set()).add(option)
    # Where secrets are read from: a command or a secrets backend in place of the value.
    for section, option in conf.sensitive_config_values:
        known.setdefault(section, set()).update({f"{option}_cmd", f"{option}_secret"})
    return {section: sorted(options) for section, options in sorted(known.items())}


def aws(functions: list[str]) -> dict[str, str]:
    """What of the emulated AWS a task cannot reach, and why: S3, and each of the functions."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    config = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 1})
    unreachable = {}
    try:
        boto3.client("s3", config=config).list_buckets()
    except (BotoCoreError, ClientError) as error:
        return {"LocalStack": str(error)}
    for name in functions:
        try:
            boto3.client("lambda", config=config).invoke(FunctionName=name, InvocationType="DryRun")
        except (BotoCoreError, ClientError) as error:
            unreachable[f"the function {name}"] = str(error)
    return unreachable


def dag_files() -> list[str]:
    """The files, relative to the DAGs folder, of which Airflow knows a DAG or an import error."""
    statement = (
        "SELECT relative_fileloc FROM dag WHERE NOT is_stale AND relative_fileloc IS NOT NULL"
        " UNION SELECT filename FROM import_error WHERE filename IS NOT NULL"
    )
    return sorted(str(name) for (name,) in _execute(statement))


def take(arguments: list[str]) -> str | None:
    """Delete a connection or a variable, and answer its row, for ``put``; None where there is none.

    As it is in the database: Airflow's API tells no secrets, and of a variable no description.

    :param arguments: the table, one of ``NAMES``, and the name.
    """
    table, name = arguments
    statement = f"DELETE FROM {table} AS old WHERE {NAMES[table]} = %s RETURNING to_jsonb(old)::text"  # noqa: S608
    rows = _execute(statement, name)
    return str(rows[0][0]) if rows else None


def put(arguments: list[str]) -> None:
    """Put back what ``take`` has answered, in place of any other of its name.

    :param arguments: the table and the row.
    """
    table, row = arguments
    _execute(
        f"DELETE FROM {table} WHERE {NAMES[table]} = %s;"  # noqa: S608
        f"INSERT INTO {table} SELECT * FROM jsonb_populate_record(NULL::{table}, %s) RETURNING 1",
        json.loads(row)[NAMES[table]],
        row,
    )


def _execute(statement: str, *parameters: str) -> list[tuple[object, ...]]:
    import psycopg2

    with psycopg2.connect(secrets.database_dsn(os.environ)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


ANSWERS: dict[str, Callable[[list[str]], object]] = {
    "settings": lambda _: settings(),
    "aws": aws,
    "dag_files": lambda _: dag_files(),
    "take": take,
    "put": put,
    "login": lambda _: secrets.admin_login(os.environ),
    "database": lambda _: secrets.database_dsn(os.environ),
}

if __name__ == "__main__":
    print(json.dumps(ANSWERS[sys.argv[1]](sys.argv[2:])))  # noqa: T201
