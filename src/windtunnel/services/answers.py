"""What ``./windtunnel`` asks inside a service, with ``python -m``; each answer is JSON on standard output."""

import json
import os
import sys
from collections.abc import Callable
from itertools import batched

from windtunnel.seeding import account
from windtunnel.services import dag_files, secrets
from windtunnel.services.slots import slots

# The tables of what tasks look up in Airflow, each with the column of the name.
NAMES = {"connection": "conn_id", "variable": "key"}

# Airflow's setting that says where DAGs come from.
BUNDLES = ("dag_processor", "dag_bundle_config_list")


def settings() -> dict[str, list[str]]:
    """Return the options of each section that this Airflow and its providers know, also deprecated names."""
    from airflow.configuration import conf

    sections = conf.configuration_description.items()
    known = {section: set(description["options"]) for section, description in sections}
    for section, option, _ in conf.deprecated_options.values():
        known.setdefault(section, set()).add(option)
    # A command or a secrets backend in place of the value.
    for section, option in conf.sensitive_config_values:
        known.setdefault(section, set()).update({f"{option}_cmd", f"{option}_secret"})
    return {section: sorted(options) for section, options in sorted(known.items())}


def aws(*functions: str) -> dict[str, str]:
    """Return why a task cannot reach LocalStack or one of these functions."""
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


def not_deployed() -> dict[str, str]:
    """Return why functions, layers and resources are not what their files say, by folder or file."""
    return account.read(os.environ)["failures"]


def listed_dag_files() -> list[str]:
    """Return the files, relative to the DAGs folder, that Airflow looks at; none if DAGs are elsewhere."""
    from airflow.configuration import conf

    if not any("LocalDagBundle" in one["classpath"] for one in conf.getjson(*BUNDLES)):
        return []
    folder = os.path.realpath(conf.get("core", "dags_folder"))
    return [os.path.relpath(os.path.realpath(file), folder) for file in dag_files.listed(folder)]


def known_dag_files() -> list[str]:
    """Return the files, relative to the DAGs folder, of which Airflow knows a DAG or an import error."""
    statement = (
        "SELECT relative_fileloc FROM dag WHERE NOT is_stale AND relative_fileloc IS NOT NULL"
        " UNION SELECT filename FROM import_error WHERE filename IS NOT NULL"
    )
    return sorted(str(name) for (name,) in _execute(statement))


def slow_dag_files(seconds: str) -> dict[str, float]:
    """Return how long the last parsing of each DAG file took that took longer than so many seconds."""
    statement = (
        "SELECT relative_fileloc, max(last_parse_duration) FROM dag WHERE NOT is_stale"
        " AND last_parse_duration > %s::float GROUP BY relative_fileloc ORDER BY relative_fileloc"
    )
    return {str(name): float(str(took)) for name, took in _execute(statement, seconds)}


def latest_runs(number: str) -> dict[str, list[str]]:
    """Return the states of the latest runs of each DAG that has one, the latest first.

    :param number: how many of each.
    """
    statement = (
        "SELECT dag_id, state FROM (SELECT dag_id, state, run_after, row_number()"
        " OVER (PARTITION BY dag_id ORDER BY run_after DESC) AS number FROM dag_run) AS runs"
        " WHERE number <= %s::int ORDER BY dag_id, run_after DESC"
    )
    found: dict[str, list[str]] = {}
    for dag_id, state in _execute(statement, number):
        found.setdefault(str(dag_id), []).append(str(state))
    return found


def held_up() -> dict[str, object]:
    """Return how many tasks wait for a slot, and which ones hold the slots; the oldest first.

    A task waits for one if the scheduler could not start it while all slots are taken.

    :returns: ``slots``, ``waiting``, and ``holders``: pairs of ``dag.task`` and a time in seconds.
    """
    statement = (
        "SELECT state, dag_id || '.' || task_id, extract(epoch FROM start_date)::float FROM task_instance"
        " WHERE state IN ('running', 'queued', 'scheduled') ORDER BY start_date"
    )
    found = _execute(statement)
    number, running = slots(os.environ), [rest for state, *rest in found if state == "running"]
    waiting = len(found) - len(running) if len(running) >= number else 0
    return {"slots": number, "waiting": waiting, "holders": running if waiting else []}


def queued() -> list[list[object]]:
    """Return the queues of Celery with waiting tasks: of each the name, how many, and some of them."""
    statement = (
        "SELECT queue, count(*), (array_agg(DISTINCT dag_id || '.' || task_id))[1:5] FROM task_instance"
        " WHERE state = 'queued' AND (executor IS NULL OR executor ILIKE %s) GROUP BY queue ORDER BY queue"
    )
    return [list(row) for row in _execute(statement, "%celery%")]


def releases(bundle: str) -> dict[str, object]:
    """Return what Airflow has of a bundle with versions.

    :returns: ``version``; ``behind``, the DAGs that were not parsed since it came; ``files``, those of which
        a DAG or an import error is known; ``runs``, pairs of a version and how many have not ended.
    """
    version = _execute("SELECT version FROM dag_bundle WHERE name = %s", bundle)
    # Of a file with a new DAG alone nothing is known until it is parsed.
    files = (
        "SELECT relative_fileloc FROM dag WHERE bundle_name = %s AND NOT is_stale"
        " UNION SELECT filename FROM import_error WHERE bundle_name = %s"
    )
    behind = (
        "SELECT dag_id FROM dag JOIN dag_bundle ON dag_bundle.name = dag.bundle_name"
        " WHERE dag.bundle_name = %s AND NOT is_stale AND"
        " bundle_version IS DISTINCT FROM dag_bundle.version ORDER BY dag_id"
    )
    runs = (
        "SELECT dag_run.bundle_version, count(*) FROM dag_run JOIN dag USING (dag_id)"
        " WHERE dag.bundle_name = %s AND dag_run.bundle_version IS NOT NULL"
        " AND state IN ('running', 'queued') GROUP BY 1 ORDER BY 1"
    )
    return {
        "version": version[0][0] if version else None,
        "behind": [name for (name,) in _execute(behind, bundle)],
        "files": [name for (name,) in _execute(files, bundle, bundle)],
        "runs": [list(row) for row in _execute(runs, bundle)],
    }


def rename(table: str, *names: str) -> None:
    """Give connections or variables other names; each replaces what had that name before.

    This is one transaction. The rows stay in the database, because they may be large or secret.

    :param table: one of ``NAMES``.
    :param names: an old name, its new name, and so on.
    """
    column = NAMES[table]
    delete = f"DELETE FROM {table} WHERE {column} = %s;"  # noqa: S608
    update = f"UPDATE {table} SET {column} = %s WHERE {column} = %s;"  # noqa: S608
    pairs = list(batched(names, 2, strict=True))
    parameters = [name for old, new in pairs for name in (new, new, old)]
    _execute(f"{(delete + update) * len(pairs)} SELECT 1", *parameters)


def _execute(statement: str, *parameters: str) -> list[tuple[object, ...]]:
    import psycopg2

    with psycopg2.connect(secrets.database_dsn(os.environ)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


ANSWERS: dict[str, Callable[..., object]] = {
    "settings": settings,
    "aws": aws,
    "not_deployed": not_deployed,
    "listed_dag_files": listed_dag_files,
    "known_dag_files": known_dag_files,
    "slow_dag_files": slow_dag_files,
    "latest_runs": latest_runs,
    "held_up": held_up,
    "queued": queued,
    "releases": releases,
    "rename": rename,
    "login": lambda: secrets.admin_login(os.environ),
    "database": lambda: secrets.database_dsn(os.environ),
}

if __name__ == "__main__":
    print(json.dumps(ANSWERS[sys.argv[1]](*sys.argv[2:])))  # noqa: T201
