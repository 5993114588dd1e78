"""The one-shot set-up: what it leaves, and that it may run any number of times."""

import json
import subprocess
from typing import Any

from tests.support import StackUnderTest
from windtunnel.stack.base import Stack
from windtunnel.stack.settings import ROOT

# Every table that an init could write to twice.
COUNTED = ("connection", "slot_pool", "variable", "dag", "dag_version", "serialized_dag")


def counts(metadata_db: Any) -> dict[str, int]:
    found = {}
    with metadata_db.cursor() as cursor:
        for table in COUNTED:
            cursor.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - the names stand above
            found[table] = cursor.fetchone()[0]
    return found


def test_the_seed_files_are_in_the_database(metadata_db: Any) -> None:
    config = {
        name: json.loads((ROOT / "config" / f"{name}.json").read_text())
        for name in ("connections", "pools", "variables")
    }

    with metadata_db.cursor() as cursor:
        cursor.execute("SELECT conn_id, conn_type FROM connection")
        assert dict(cursor.fetchall()) == {
            name: entry["conn_type"] for name, entry in config["connections"].items()
        }
        cursor.execute("SELECT pool FROM slot_pool")
        assert {name for (name,) in cursor.fetchall()} == {"default_pool", *config["pools"]}
        cursor.execute("SELECT key FROM variable")
        assert {name for (name,) in cursor.fetchall()} == set(config["variables"])


def start_init(stack: Stack) -> "subprocess.Popen[str]":
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    if stack.engine == "local":
        return stack.popen([str(ROOT / "entrypoint.sh"), "init"], env=stack.variables("init"), **streams)
    # Compose refuses two `run` of one name at a time; with `--rm` and no name there are two containers.
    return stack.popen(["docker", "compose", "run", "--rm", "--no-deps", "--no-TTY", "init"], **streams)


def test_running_twice_at_once_succeeds_and_doubles_nothing(
    airflow_stack: StackUnderTest, metadata_db: Any
) -> None:
    before = counts(metadata_db)
    login = airflow_stack.stack.login()

    inits = [start_init(airflow_stack.stack) for _ in range(2)]
    outputs = [init.communicate(timeout=90)[0] for init in inits]

    assert [init.returncode for init in inits] == [0, 0], "\n".join(outputs)
    assert counts(metadata_db) == before
    assert airflow_stack.stack.login() == login
